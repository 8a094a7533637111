"""The local schema registry is started again when it dies, for as long as Dagster runs here."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services import registry
from dagster_project.services.revive import note
from dagster_project.settings import Settings

# A look at one process costs nothing, and messages are only delayed by a registry that is away.
_LOOK_SECONDS = 1.0
# One that does not start is tried again, more and more seldom: what needs no registry goes on meanwhile.
_LONGEST_SECONDS = 60.0


@contextmanager
def kept(settings: Settings, *, book: Path) -> Generator[None]:
    """Look after the registry for as long as the context lasts.

    Args:
        book: the log to which deaths and starts are written.
    """
    ending = threading.Event()
    # As a daemon: a start that takes long keeps nobody from ending, and the registry is there for the next one.
    watcher = threading.Thread(target=_watch, args=(settings, ending, book), name="registry keeper", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ending.set()
        watcher.join(_LOOK_SECONDS)


def _watch(settings: Settings, ending: threading.Event, book: Path) -> None:
    report = partial(note, book, "schema registry")
    wait = _LOOK_SECONDS
    while not ending.wait(wait):
        try:
            registry.revive(settings, report=report)
        except ServiceError as error:
            wait = min(2 * wait, _LONGEST_SECONDS)
            report(f"{error}; trying again in {wait:.0f} s")
        else:
            wait = _LOOK_SECONDS
