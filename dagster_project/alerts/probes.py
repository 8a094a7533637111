"""Whether the broker and the store answer, asked with short time-outs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from dagster_project.errors import LakehouseError
from dagster_project.lake.storage import Storage
from dagster_project.services.probe import registered

# A store answers within some tens of milliseconds, a far one within a few hundred. Runs make a few dozen requests one
# after the other, so at this they take a minute longer.
SLOW_S = 2.0
# What takes longer is down for whoever waits: a look at the platform has other things to see.
TIMEOUT_S = 5.0
_BROKER_S = 2.0
_Result = TypeVar("_Result")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How something answered.

    Attributes:
        seconds: until it did, or was given up.
        found: why it does not; empty where it does.
    """

    seconds: float
    found: str = ""

    @property
    def up(self) -> bool:
        return not self.found


class Late(Exception):  # noqa: N818 it is no error of ours; the caller makes a verdict of it
    """No answer in time."""


class Bounded(Generic[_Result]):
    """Something that may hang, asked in a thread of its own; one that hangs is not asked again before it has ended.

    Clients of stores and brokers have time-outs of a minute and tries of their own, and cannot be stopped.
    """

    def __init__(self) -> None:
        self._asked: Future[_Result] | None = None

    def ask(self, question: Callable[[], _Result]) -> Future[_Result]:
        """Begin to ask; an earlier question that still waits for its answer stands in."""
        if self._asked is None or self._asked.done():
            self._asked = Future()
            threading.Thread(target=_answer, args=(self._asked, question), daemon=True).start()
        return self._asked


def _answer(future: Future[_Result], question: Callable[[], _Result]) -> None:
    try:
        future.set_result(question())
    except BaseException as error:  # noqa: BLE001 it is raised where the answer is waited for
        future.set_exception(error)


def broker(servers: Callable[[], str]) -> Probe:
    """Ask the cluster for its brokers; waits for 2 s."""
    began = time.monotonic()
    try:
        address = servers()
    except LakehouseError as error:
        return Probe(seconds=time.monotonic() - began, found=error.found)
    cluster, _ = registered(address, patience=_BROKER_S)
    found = "" if cluster else f"no answer from {address} within {_BROKER_S:g} s"
    return Probe(seconds=time.monotonic() - began, found=found)


def store(storage: Storage) -> Probe:
    """List the root of the lake; may hang for as long as the store's client does."""
    began = time.monotonic()
    found = ""
    try:
        storage.filesystem().ls(storage.uri, detail=False)
    except FileNotFoundError:
        try:
            storage.check()  # nothing was written yet, or is the bucket missing?
        except LakehouseError as error:
            found = error.found
    except Exception as error:  # noqa: BLE001 botocore, aiohttp and s3fs raise many unrelated kinds
        found = f"{type(error).__name__}: {error}"
    return Probe(seconds=time.monotonic() - began, found=found)
