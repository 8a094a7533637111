"""What Dagster's database says of runs while the platform works: how they ended, and whether one has left something behind."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from dagster_project.sensors.launch import UNFINISHED
from dagster_project.services.lock import holder
from dagster_project.settings import Settings
from tests.integration.lake import COMMAND_PATIENCE
from tests.live.faults import wait


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Attributes: `marks`: the folder of the files that runs hold while they live."""

    instance: dg.DagsterInstance
    marks: Path

    @classmethod
    @contextmanager
    def of(cls, settings: Settings) -> Generator[Runs]:
        with dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance:
            yield cls(instance=instance, marks=settings.dagster_home / "processes")

    def kill_one(self, *, check: Callable[[], object]) -> float:
        """Kill a run; returns how many seconds it took until it was failed, its pool was free, and its job ran again."""
        found: list[tuple[dg.DagsterRun, int]] = []

        def alive() -> bool:
            runs = self.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
            found.extend((run, pid) for run in runs if (pid := holder(self.marks / run.run_id)) is not None)
            return bool(found)

        assert wait(COMMAND_PATIENCE, alive, check=check), "no run is under way"
        # The longest: one that ingests, which is at it for minutes.
        victim, pid = found[-1]
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        again = wait(COMMAND_PATIENCE, lambda: self._over(victim), check=check)
        assert again, f"run {victim.run_id} of {victim.job_name} was killed, and its job does not run again"
        return time.monotonic() - began

    def idle(self) -> bool:
        return not self.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=1)

    def ended(self) -> dict[str, int]:
        """How many there were, by how they ended."""
        return dict(Counter(run.status.value for run in self.instance.get_runs()))

    def stuck(self) -> Iterator[str]:
        """A run that does not end, a slot that is not given back."""
        for run in self.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
            yield f"run {run.run_id} of {run.job_name} is {run.status.value} for ever"
        storage = self.instance.event_log_storage
        for key in storage.get_concurrency_keys():
            pool = storage.get_concurrency_info(key)
            if pool.active_slot_count or pool.pending_step_count:
                yield f"pool {key}: {pool.active_slot_count} slots held, {pool.pending_step_count} steps wait"

    def _over(self, victim: dg.DagsterRun) -> bool:
        """Whether it has failed, and another run of its job has what it held."""
        newest = self.instance.get_runs(dg.RunsFilter(job_name=victim.job_name), limit=1)[0]
        run = self.instance.get_run_by_id(victim.run_id)
        began = {dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS}
        return run is not None and run.is_finished and newest.run_id != victim.run_id and newest.status in began
