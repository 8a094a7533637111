"""Runs that failed, as the orchestrator remembers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dagster_project.metrics.family import Family, Sample, Source

WINDOWS = {"10m": 600.0, "1h": 3600.0}
FAILED = Family(
    name="lakehouse_failed_runs",
    help="Runs of a job that failed within the last 10 or 60 minutes",
    unit="runs",
    labels=("job", "window"),
)
FAILING = Family(
    name="lakehouse_job_failing",
    help="1 while the last run of a job has failed, of those with a failure within the last 60 minutes, else 0",
    unit="1",
    labels=("job",),
)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The failures of a job.

    Attributes:
        at: when its runs failed, in seconds since the epoch.
        still: none has succeeded since.
    """

    at: Sequence[float]
    still: bool


# By job, the failures after a moment, in seconds since the epoch.
Failures = Callable[[float], Mapping[str, Failed]]


def source(failures: Failures) -> Source:
    """Of each job that had a failure."""

    def read(now: float) -> Iterator[Sample]:
        for job, failed in sorted(failures(now - max(WINDOWS.values())).items()):
            yield FAILING.of(failed.still, job)
            for window, seconds in WINDOWS.items():
                yield FAILED.of(sum(moment > now - seconds for moment in failed.at), job, window)

    return Source(name="runs", families=(FAILED, FAILING), read=read)
