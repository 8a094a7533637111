"""Runs that get in each other's way: at the same time, in the wrong order, and one that wakes long after it was given up."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from tests.chaos.fault import STRIKE_SECONDS, DidNotStrikeError, Fault, Trial
from tests.chaos.worker import REFUSED

_POLL_SECONDS = 0.02


def faults() -> Iterator[Fault]:
    yield Fault(name="two-ingests-at-once", act=together(2, "ingest"))
    yield Fault(name="three-ingests-at-once", act=together(3, "ingest"))
    yield Fault(name="two-refines-at-once", act=together(2, "refine", "compute", before=("ingest",)))
    yield Fault(name="three-passes-at-once", act=together(3, "ingest", "refine", "compute"))
    yield Fault(name="refine-before-ingest", act=_disorder)
    yield Fault(name="zombie-ingest-fetched", act=_zombie("ingest.fetched", "ingest"))
    yield Fault(name="zombie-ingest-files-written", act=_zombie("bronze.before_commit", "ingest"))
    yield Fault(name="zombie-refine", act=_zombie("silver.before_commit", "refine", before=("ingest",)))
    yield Fault(name="zombie-quarantine", act=_zombie("quarantine.before_commit", "refine", before=("ingest",)))
    yield Fault(name="zombie-compute", act=_zombie("gold.before_commit", "compute", before=("ingest", "refine")))


def run(trial: Trial, *steps: str) -> None:
    worker = trial.scene.start(*steps)
    _, errors = worker.communicate(timeout=STRIKE_SECONDS)
    assert worker.returncode == 0, errors


def together(
    count: int, *steps: str, before: tuple[str, ...] = (), refusal: str = "StaleCursorError"
) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        if before:
            run(trial, *before)
        workers = [trial.scene.start(*steps) for _ in range(count)]
        ends = [(worker.communicate(timeout=STRIKE_SECONDS)[1], worker.returncode) for worker in workers]
        # One gets through; the others do too, or refuse in so many words.
        assert any(code == 0 for _, code in ends), ends
        assert all(code == 0 or refusal in errors for errors, code in ends), ends
        trial.notes.append(f"{sum(code != 0 for _, code in ends)} of {count} refused")
        trial.mark()

    return act


def _disorder(trial: Trial) -> None:
    trial.scene.produce()
    for step in ("compute", "refine", "ingest", "compute", "refine"):
        run(trial, step)
    trial.mark()


def _zombie(point: str, step: str, before: tuple[str, ...] = ()) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        if before:
            run(trial, *before)
        plan = trial.arm(point, "stop", plan=trial.scene.home / "zombie.json")
        zombie = trial.scene.start(step, more={"CHAOS_PLAN": str(plan)})
        try:
            wait_until_stopped(trial, zombie)
            run(trial, step)
        finally:
            os.kill(zombie.pid, signal.SIGCONT)
        _, errors = zombie.communicate(timeout=STRIKE_SECONDS)
        assert zombie.returncode == REFUSED, f"the zombie ended with {zombie.returncode}: {errors}"
        assert "StaleCursorError" in errors, errors
        trial.mark()

    return act


def wait_until_stopped(trial: Trial, zombie: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + STRIKE_SECONDS
    while trial.struck(trial.scene.home / "zombie.json") is None:
        if zombie.poll() is not None or time.monotonic() > deadline:
            raise DidNotStrikeError(f"the zombie never fell asleep: {zombie.communicate()[1]}")
        time.sleep(_POLL_SECONDS)
