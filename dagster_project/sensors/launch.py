"""Whether a job may be launched now, from the runs that Dagster already knows."""

from __future__ import annotations

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


def running(instance: dg.DagsterInstance, job_name: str) -> dg.DagsterRun | None:
    """A run of a job that is queued or at work, or `None`."""
    return next(iter(instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=UNFINISHED), limit=1)), None)


def reason_to_wait(instance: dg.DagsterInstance, job_name: str) -> str | None:
    """Why a job should not be launched now, or `None`.

    The answer comes from the run storage alone, so a lost or doubled tick changes nothing.
    """
    runs = instance.get_run_records(dg.RunsFilter(job_name=job_name), limit=_LOOK_BACK)
    for record in runs:
        if record.dagster_run.status in UNFINISHED:
            return f"{job_name} is running ({record.dagster_run.run_id[:8]})"
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
