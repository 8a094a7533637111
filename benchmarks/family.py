"""A process and all that come from it: what they have used, and how much memory they hold."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

import psutil


class Used(NamedTuple):
    """What a process tree has used since it began."""

    cpu_s: float
    bytes_written: int


class Family:
    """A process and all that come from it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._members = [self._root]

    def look(self) -> list[psutil.Process]:
        """Who belongs to it; those who lost their parent still do, while they live."""
        known = {member for member in self._members if member.is_running()}
        with suppress(psutil.NoSuchProcess):
            known |= {self._root, *self._root.children(recursive=True)}
        self._members = list(known)
        return self._members

    def used(self) -> Used:
        while True:
            members = self.look()
            found = [_used(member) for member in members]
            # Somebody who ended in between would be counted twice or not at all.
            if set(self.look()) == set(members):
                return Used(sum(used.cpu_s for used in found), sum(used.bytes_written for used in found))

    def rss(self) -> int:
        """Bytes of memory, of those that the last look has found."""
        total = 0
        for member in self._members:
            with suppress(psutil.NoSuchProcess):
                total += member.memory_info().rss
        return total

    def kill(self) -> None:
        for member in self.look():
            with suppress(psutil.NoSuchProcess):
                member.kill()


def _used(member: psutil.Process) -> Used:
    times, written = None, 0
    with suppress(psutil.NoSuchProcess):
        times = member.cpu_times()
        written = member.io_counters().write_bytes
    if times is None:
        return Used(0.0, 0)
    return Used(times.user + times.system + times.children_user + times.children_system, written)
