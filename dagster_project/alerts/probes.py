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
from dagster_project.topics.security import knock

# A store answers within some tens of milliseconds, a far one within a few hundred. Runs make a few dozen requests one
# after the other, so at this they take a minute longer.
SLOW_S = 2.0
# A probe that takes longer is down for whoever waits.
PROBE_S = 5.0
# For all else together: tables of many datasets in a slow store. What comes later is seen at the next look.
LOOK_S = 10.0
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


class Bounded(Generic[_Result]):
    """Something that may hang, asked in a thread of its own; while it waits for its answer it is not asked again.

    Clients of stores and brokers have time-outs of a minute and tries of their own, and cannot be stopped. What comes late is
    the answer of the next look.
    """

    def __init__(self) -> None:
        self._asked: Future[_Result] | None = None

    def ask(self, question: Callable[[], _Result]) -> None:
        """Begin to ask, unless an earlier question has not been answered yet."""
        if self._asked is None:
            self._asked = Future()
            threading.Thread(target=_answer, args=(self._asked, question), daemon=True).start()

    def answer(self, deadline: float) -> _Result:
        """The answer, or the error that asking has ended with.

        Args:
            deadline: until when it is waited for, by `time.monotonic`.

        Raises:
            TimeoutError: it has not come by then.
        """
        assert self._asked is not None, "asked before"
        try:
            return self._asked.result(max(deadline - time.monotonic(), 0))
        finally:
            if self._asked.done():
                self._asked = None


def _answer(future: Future[_Result], question: Callable[[], _Result]) -> None:
    try:
        future.set_result(question())
    except BaseException as error:  # noqa: BLE001 it is raised where the answer is waited for
        future.set_exception(error)


def broker(servers: Callable[[], str]) -> Probe:
    """Ask the cluster for its brokers; waits for 2 s, and for as long again to hear why it does not let this process in."""
    began = time.monotonic()
    found = ""
    try:
        address = servers()
        cluster, _ = registered(address, patience=_BROKER_S)
        if not cluster:
            refused = knock(address)
            found = f"no answer from {address} within {_BROKER_S:g} s" if refused is None else refused.found
    except LakehouseError as error:
        found = error.found
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
