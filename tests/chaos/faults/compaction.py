"""Compaction that is killed, or outpaced by a writer while it held the old files' rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import polars.selectors as cs

from tests.chaos.fault import STRIKE_SECONDS, Fault, Trial
from tests.chaos.faults.race import run, wait_until_stopped

# Files of a table partition that make compaction worth while, and small slices that leave as many.
_FILES, _EVENTS = 4, 120


def faults() -> Iterator[Fault]:
    yield Fault(name="kill-compaction-read", act=_killed("compaction.read"))
    yield Fault(name="kill-compaction-before-commit", act=_killed("silver.before_commit"))
    yield Fault(name="kill-compaction-published", act=_killed("compaction.published"))
    yield Fault(name="zombie-compaction", act=_outpaced)


def _prepare(trial: Trial) -> None:
    while _most_files(trial) < _FILES:
        trial.scene.produce(_EVENTS)
        trial.platform.advance()


def _most_files(trial: Trial) -> int:
    """Of the table partitions of Silver, the most files that one has."""
    log = trial.scene.tables.log("silver/orders")
    if log is None or log.is_empty():
        return 0
    return max(log.group_by(cs.starts_with("partition.")).len()["len"])


def _killed(point: str) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        _prepare(trial)
        trial.arm(point)
        worker = trial.scene.start("compact")
        _, errors = worker.communicate(timeout=STRIKE_SECONDS)
        assert worker.returncode == -signal.SIGKILL, errors
        trial.scene.produce()
        trial.mark()
        run(trial, "compact")

    return act


def _outpaced(trial: Trial) -> None:
    _prepare(trial)
    plan = trial.arm("silver.before_commit", "stop", plan=trial.scene.home / "zombie.json")
    zombie = trial.scene.start("compact", more={"CHAOS_PLAN": str(plan)})
    try:
        wait_until_stopped(trial, zombie)
        trial.scene.produce()
        trial.platform.advance()
    finally:
        os.kill(zombie.pid, signal.SIGCONT)
    output, errors = zombie.communicate(timeout=STRIKE_SECONDS)
    assert zombie.returncode == 0, errors
    assert "outpaced=True" in output, output
    trial.mark()
