"""What this process takes of the machine and asks of the store, counted where it asks.

Counted are the bytes, objects and requests of the platform's own reads and writes, whatever the store is: those of a local
disk are what S3 would be asked. What delta-rs and polars ask by themselves is estimated from the log, which says what they
read.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass

_LOCK = threading.Lock()
_COUNTS: Counter[str] = Counter()
# Listings come in pages of so many names.
_PAGE = 1000
# A scan asks for the end of a file and then for its columns; of an S3 server it asked 1 to 2 times for each small file.
_SCAN_REQUESTS = 2


@dataclass(frozen=True, kw_only=True)
class Used:
    """What was taken.

    Attributes:
        wall_seconds: of a clock that only goes on.
        cpu_seconds: of all threads.
        bytes_in: of the files that were to be read, whole, though a reader of few columns takes less; of the log's entries; and of
            Kafka's messages.
        bytes_out: written to the store.
        bytes_removed: of files that left a table; in the store until they are vacuumed.
        requests_put: those that cost as a PUT: PUT, COPY, POST, LIST.
        requests_get: those that cost as a GET: GET, HEAD.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0
    bytes_removed: int = 0
    objects_in: int = 0
    objects_out: int = 0
    requests_put: int = 0
    requests_get: int = 0

    def __add__(self, other: Used) -> Used:
        return Used(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __sub__(self, other: Used) -> Used:
        return Used(**{name: value - getattr(other, name) for name, value in vars(self).items()})


# Where a process that is one run's from its start began.
_ORIGIN: list[Used] = []


def own_process() -> None:
    """Say, at its start, that this process is one run's own: what it took before its first asset is the run's, too."""
    _ORIGIN[:] = [Used(wall_seconds=time.monotonic())]


def origin() -> Used | None:
    """What was taken when this process began, if it is one run's own."""
    return _ORIGIN[0] if _ORIGIN else None


def taken() -> Used:
    """All that this process has taken so far; the difference of two such is what was taken between them."""
    with _LOCK:
        return Used(wall_seconds=time.monotonic(), cpu_seconds=time.process_time(), **_COUNTS)


def wrote(size: int) -> None:
    """Count an object that is put."""
    _count(bytes_out=size, objects_out=1, requests_put=1)


def got(size: int) -> None:
    """Count an object that is got whole."""
    _count(bytes_in=size, objects_in=1, requests_get=1)


def asked(requests: int = 1) -> None:
    """Count requests that cost as a GET and bring nothing, or nobody knows how much."""
    _count(requests_get=requests)


def listed(names: int) -> None:
    """Count a listing."""
    _count(requests_put=max(1, -(-names // _PAGE)))


def opened(commits: int) -> None:
    """Count what delta-rs asks for: a list of the log, the mark of its last checkpoint, and so many commits since then."""
    _count(requests_put=1, requests_get=1 + commits)


def checkpointed() -> None:
    """Count a checkpoint and the mark that leads to it, of unknown size."""
    _count(objects_out=2, requests_put=2)


def scanned(files: int, size: int) -> None:
    """Count files that a scan will read."""
    _count(bytes_in=size, objects_in=files, requests_get=files * _SCAN_REQUESTS)


def removed(size: int) -> None:
    """Count bytes of files that left a table."""
    _count(bytes_removed=size)


def received(size: int) -> None:
    """Count bytes of messages."""
    _count(bytes_in=size)


def _count(**amounts: int) -> None:
    with _LOCK:
        for name, amount in amounts.items():
            _COUNTS[name] += amount
