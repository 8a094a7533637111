"""Measuring a system: it runs as a child process and is drained between `go` and its answer; its start is nobody's.

What is read is of the whole process tree. Processes that end meanwhile are counted in the parents that waited for them,
as the kernel does; one that nobody waited for would be missed, and no system makes such.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.family import Family
from dagster_project.errors import LakehouseError

READY, GO = "ready", "go"
# Memory is looked at this often; who belongs to the tree, which costs some ms, every tenth time.
_SAMPLE_S, _LOOK_EVERY = 0.05, 10
# A system that was told all it needs ends within this, or is ended.
_END_S = 60.0
_LAST_WORDS = 2_000


class DrainError(LakehouseError):
    """A system of the benchmark did not do its work."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One drain.

    Attributes:
        cpu_s: user and system time of all processes; 1.0 is one core for one second.
        peak_rss_mib: the largest sum over all processes; pages that they share count in each.
        bytes_written: to storage, by all processes, as the kernel counts.
        output_bytes: size of the output folder in the end.
        answer: what the system said it has done.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mib: float
    bytes_written: int
    output_bytes: int
    answer: Mapping[str, Any]


class _Peak(threading.Thread):
    """Watches the memory of a family until it is told to stop."""

    def __init__(self, family: Family) -> None:
        super().__init__(name="memory", daemon=True)
        self._family = family
        self._over = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        samples = 0
        while not self._over.wait(_SAMPLE_S):
            if samples % _LOOK_EVERY == 0:
                self._family.look()
            self.bytes = max(self.bytes, self._family.rss())
            samples += 1

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.bytes


def measure(
    name: str,
    command: Sequence[str],
    *,
    out: Path,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str],
    patience_s: float,
) -> Measured:
    """Run a system and measure its drain.

    Args:
        out: the folder that it writes to.
        log: where its standard error goes.
        patience_s: it is killed after this long, start included.

    Raises:
        DrainError: it ended before it was done, or never was.
    """
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        ) as child,
    ):
        family = Family(child.pid)
        alarm = threading.Timer(patience_s, family.kill)
        alarm.start()
        try:
            if (first := _hear(child, name, log)) != READY:
                raise DrainError(f"{name} said {first!r}", expected=f"{READY!r} first")
            before, began = family.used(), time.monotonic()
            peak = _Peak(family)
            peak.start()
            _say(child, GO)
            answer = _hear(child, name, log)
            wall_s = time.monotonic() - began
            after, rss = family.used(), peak.stop()
            assert child.stdin is not None
            child.stdin.close()
            child.wait(_END_S)
        finally:
            alarm.cancel()
            family.kill()
    return Measured(
        wall_s=wall_s,
        cpu_s=after.cpu_s - before.cpu_s,
        peak_rss_mib=rss / (1 << 20),
        bytes_written=after.bytes_written - before.bytes_written,
        output_bytes=sum(file.stat().st_size for file in out.rglob("*") if file.is_file()),
        answer=json.loads(answer),
    )


def _say(child: subprocess.Popen[bytes], word: str) -> None:
    assert child.stdin is not None
    with suppress(BrokenPipeError):  # it has died, and says why where its answer is waited for
        child.stdin.write(f"{word}\n".encode())
        child.stdin.flush()


def _hear(child: subprocess.Popen[bytes], name: str, log: Path) -> str:
    assert child.stdout is not None
    line = child.stdout.readline().decode().strip()
    if line:
        return line
    status = child.wait(_END_S)
    words = log.read_text(encoding="utf-8", errors="replace")[-_LAST_WORDS:]
    raise DrainError(
        f"{name} ended with {status} before it was done; its last words:\n{words}",
        expected=f"{READY!r}, and one line of JSON after {GO!r}",
        remedy="run it by itself, with the arguments that it was given here",
    )
