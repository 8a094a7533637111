"""Which files of a folder are read, by whatever library: the kernel tells."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# From inotify(7): a file that was not opened for writing was closed; what happened befell a folder.
_CLOSED_UNWRITTEN, _IS_FOLDER = 0x10, 0x40000000
_EVENT = struct.Struct("iIII")
_BUFFER = 1 << 20


class Reads:
    """Counts files that were opened for reading and closed again, since it was last asked.

    The kernel tells only once of a file that is read twice in a row.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def count(self) -> int:
        found = 0
        try:
            while events := os.read(self._descriptor, _BUFFER):
                place = 0
                while place < len(events):
                    _, mask, _, length = _EVENT.unpack_from(events, place)
                    found += not mask & _IS_FOLDER
                    place += _EVENT.size + length
        except BlockingIOError:  # that was all
            return found
        return found


@contextmanager
def watching(folder: Path) -> Generator[Reads]:
    """Watch a folder that exists, by itself and not below."""
    kernel = ctypes.CDLL(None, use_errno=True)
    descriptor = kernel.inotify_init1(os.O_NONBLOCK)
    if descriptor < 0 or kernel.inotify_add_watch(descriptor, os.fsencode(folder), _CLOSED_UNWRITTEN) < 0:
        raise OSError(ctypes.get_errno(), "inotify", str(folder))
    try:
        yield Reads(descriptor)
    finally:
        os.close(descriptor)
