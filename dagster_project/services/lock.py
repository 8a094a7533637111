"""One command at a time: a lock on a file, let go by the system when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from dagster_project.errors import ServiceError

# How often a waiting command looks again: short beside the second that starting a service takes.
_RETRY_SECONDS = 0.1


@contextmanager
def exclusive(path: Path, *, patience: float) -> Generator[None]:
    """Hold the lock at `path`, after waiting at most `patience` seconds for its holder.

    Raises:
        ServiceError: another process still holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with path.open("a+") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise ServiceError(
                        f"process {file.read().strip() or '(unknown)'} has held {path} for {patience:.0f} s",
                        expected="one command at a time",
                        remedy="wait for it to end, or end it, and try again",
                    ) from None
                time.sleep(_RETRY_SECONDS)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(path: Path) -> int | None:
    """The process that holds the lock at `path`, or `None`."""
    while True:
        try:
            with path.open("r+") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    if pid := file.read():
                        return int(pid)
                else:
                    return None
        except FileNotFoundError:
            return None
        time.sleep(_RETRY_SECONDS)  # it has the lock and is about to write its id
