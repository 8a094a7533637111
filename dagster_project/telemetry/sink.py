"""Where lines go: to stderr, which Dagster keeps as the run's compute log, and to a file of bounded size that all runs share."""

from __future__ import annotations

import fcntl
import logging
import sys
from pathlib import Path

_LOGGER = logging.getLogger(__name__)
# A line is some 600 bytes: a hundred thousand batches, of which a busy dataset makes a few a second. And the file before it.
_MOST_BYTES = 64 * 1024 * 1024
FILE, FORMER, _LOCK = "batches.ndjson", "batches.1.ndjson", "batches.lock"


class Sink:
    """A logger as structlog wraps it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def info(self, line: str) -> None:
        """Write a line. A file that cannot be written is no reason for a batch to fail that is committed."""
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        try:
            self._append(f"{line}\n".encode())
        except OSError as error:
            _LOGGER.warning("%s was not written: %s", self._folder / FILE, error)

    def _append(self, content: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / FILE
        with path.open("ab", buffering=0) as file:
            file.write(content)  # in one call, so that lines of several processes do not mix
            full = file.tell() > _MOST_BYTES
        if full:
            self._turn(path)

    def _turn(self, path: Path) -> None:
        with (self._folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.stat().st_size > _MOST_BYTES:  # nobody else has done so meanwhile
                path.replace(self._folder / FORMER)
