"""The local cache and schema registry are started again when they die, for as long as Dagster runs here."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from dagster_project.errors import ServiceError
from dagster_project.services import cache, registry
from dagster_project.services.revive import note
from dagster_project.settings import Settings

# A look at one process costs nothing; messages are only delayed by a registry that is away, and readers have Gold.
_LOOK_SECONDS = 1.0
# One that does not start is tried again, more and more seldom: what does not need it goes on meanwhile.
_LONGEST_SECONDS = 60.0


class _Revive(Protocol):
    def __call__(self, settings: Settings, *, report: partial[None]) -> None: ...


_KEPT: Mapping[str, _Revive] = {"schema registry": registry.revive, "cache": cache.revive}


@contextmanager
def kept(settings: Settings, *, book: Path) -> Generator[None]:
    """Look after them for as long as the context lasts.

    Args:
        book: the log to which deaths and starts are written.
    """
    ending = threading.Event()
    # As daemons: a start that takes long keeps nobody from ending, and the service is there for the next one.
    watchers = [
        threading.Thread(target=_watch, args=(settings, name, ending, book), name=f"{name} keeper", daemon=True)
        for name in _KEPT
    ]
    for watcher in watchers:
        watcher.start()
    try:
        yield
    finally:
        ending.set()
        for watcher in watchers:
            watcher.join(_LOOK_SECONDS)


def _watch(settings: Settings, name: str, ending: threading.Event, book: Path) -> None:
    report = partial(note, book, name)
    wait = _LOOK_SECONDS
    while not ending.wait(wait):
        try:
            _KEPT[name](settings, report=report)
        except ServiceError as error:
            wait = min(2 * wait, _LONGEST_SECONDS)
            report(f"{error}; trying again in {wait:.0f} s")
        else:
            wait = _LOOK_SECONDS
