"""Whether a job may be launched now, from the runs that Dagster already knows."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable

import dagster as dg

from dagster_project.assets.shards import read_by, shard_tags
from dagster_project.ingest.shards import WHOLE, Shard

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
        self._unfinished: dict[str, list[dg.DagsterRun]] = {}
        for run in unfinished:
            self._unfinished.setdefault(run.job_name, []).append(run)
        # What failed before that is not waited for any more.
        since = dt.datetime.fromtimestamp(time.time() - _BACKOFF_MOST_S, dt.UTC)
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
        failures = instance.get_runs(failed, limit=_MOST)
        self._failed = {run.job_name for run in failures}
        self._whole = max(len(unfinished), len(failures)) < _MOST

    def running(self, job_name: str, *, shard: Shard = WHOLE) -> dg.DagsterRun | None:
        """A run of a job that is queued or at work, or `None`.

        Args:
            shard: of a topic; a run that reads other Kafka partitions is none.
        """
        run = _first(self._unfinished.get(job_name, ()), shard)
        if run is not None or self._whole:
            return run
        asked = dg.RunsFilter(job_name=job_name, statuses=UNFINISHED)
        return _first(self._instance.get_runs(asked, limit=1 if shard.whole else _MOST), shard)

    def reason_to_wait(self, job_name: str, *, shard: Shard = WHOLE) -> str | None:
        """Why a job should not be launched now, or `None`."""
        if (run := self.running(job_name, shard=shard)) is not None:
            return f"{job_name} is running ({run.run_id[:8]})"
        if self._whole and job_name not in self._failed:
            return None
        # What another shard's runs come to says nothing of this one's.
        asked = dg.RunsFilter(job_name=job_name, tags=shard_tags(job_name, shard))
        runs = self._instance.get_run_records(asked, limit=_LOOK_BACK)
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


def _first(runs: Iterable[dg.DagsterRun], shard: Shard) -> dg.DagsterRun | None:
    """The first run that reads some of the Kafka partitions of a shard."""
    return next((run for run in runs if shard.meets(read_by(run))), None)
