"""Which runs failed, from Dagster's storage."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from pathlib import Path

from dagster_project.metrics.runs import Failed

# Far more failures within an hour than anybody looks at one by one; a query of a hundred takes some 10 ms.
_MOST = 1000


def failures(dagster_home: Path, since: float) -> dict[str, Failed]:
    """By job, what failed after a moment, in seconds since the epoch; nothing before Dagster's first start."""
    if not (dagster_home / "dagster.yaml").is_file():
        return {}
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter  # noqa: PLC0415 takes seconds, and few ask

    failed, done = DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS
    moments: dict[str, list[float]] = defaultdict(list)
    with DagsterInstance.from_config(str(dagster_home)) as instance:
        recent = RunsFilter(statuses=[failed], updated_after=dt.datetime.fromtimestamp(since, dt.UTC))
        for record in instance.get_run_records(recent, limit=_MOST):
            moments[record.dagster_run.job_name].append(record.update_timestamp.timestamp())
        last = {
            job: instance.get_runs(RunsFilter(job_name=job, statuses=[failed, done]), limit=1)[0].status
            for job in moments
        }
    return {job: Failed(at=own, still=last[job] is failed) for job, own in moments.items()}
