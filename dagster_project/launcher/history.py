"""Which runs failed, from Dagster's storage."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from pathlib import Path

# Far more failures within an hour than anybody looks at one by one; a query of a hundred takes some 10 ms.
_MOST = 1000


def failures(dagster_home: Path, since: float) -> dict[str, list[float]]:
    """By job, when its runs failed after a moment, both in seconds since the epoch; none before Dagster's first start."""
    if not (dagster_home / "dagster.yaml").is_file():
        return {}
    from dagster import DagsterInstance, DagsterRunStatus, RunsFilter  # noqa: PLC0415 takes seconds, and few ask

    found: dict[str, list[float]] = defaultdict(list)
    with DagsterInstance.from_config(str(dagster_home)) as instance:
        failed = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=dt.datetime.fromtimestamp(since, dt.UTC))
        for record in instance.get_run_records(failed, limit=_MOST):
            found[record.dagster_run.job_name].append(record.update_timestamp.timestamp())
    return found
