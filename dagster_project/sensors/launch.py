"""Whether a job may be launched now, from the runs that Dagster already knows."""

from __future__ import annotations

import datetime as dt
import time

import dagster as dg

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
# After one failure the next try comes at the next tick: a run whose process was killed is no evidence of a lasting fault,
# and the stream should not wait for it. Then it waits 5, 10, 20, … seconds, and never longer than five minutes: a dead
# broker does not fill the run list, and recovery is noticed within the lag SLO.
_FIRST_S, _BACKOFF_S, _BACKOFF_MOST_S = 1.0, 5.0, 300.0
_LOOK_BACK = 8  # failures after which the wait has reached its most
# A query costs some 8 ms, so that one for each of a hundred jobs would take most of a second; one for all takes as long as
# it finds runs. Where a backfill has queued more than this, jobs are asked for one by one.
_MOST = 500


class Runs:
    """The runs of one moment, from the run storage alone: a lost or doubled tick changes nothing."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        unfinished = instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=_MOST)
        self._unfinished = {run.job_name: run for run in unfinished}
        # What failed before that is not waited for any more.
        since = dt.datetime.fromtimestamp(time.time() - _BACKOFF_MOST_S, dt.UTC)
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
        failures = instance.get_runs(failed, limit=_MOST)
        self._failed = {run.job_name for run in failures}
        self._whole = max(len(unfinished), len(failures)) < _MOST

    def running(self, job_name: str) -> dg.DagsterRun | None:
        """A run of a job that is queued or at work, or `None`."""
        if job_name in self._unfinished or self._whole:
            return self._unfinished.get(job_name)
        return next(iter(self._instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=UNFINISHED), limit=1)), None)

    def reason_to_wait(self, job_name: str) -> str | None:
        """Why a job should not be launched now, or `None`."""
        if (run := self.running(job_name)) is not None:
            return f"{job_name} is running ({run.run_id[:8]})"
        if self._whole and job_name not in self._failed:
            return None
        runs = self._instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=_LOOK_BACK)
        failures = 0
        for record in runs:
            if record.dagster_run.status != dg.DagsterRunStatus.FAILURE:
                break
            failures += 1
        if failures:
            wait = _FIRST_S if failures == 1 else min(_BACKOFF_S * 2 ** (failures - 2), _BACKOFF_MOST_S)
            since = time.time() - (runs[0].end_time or runs[0].update_timestamp.timestamp())
            if since < wait:
                return f"{job_name} failed {failures} times in a row; next try in {wait - since:.0f} s"
        return None
