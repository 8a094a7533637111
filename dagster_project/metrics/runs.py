"""Runs that failed, as the orchestrator remembers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from dagster_project.metrics.family import Family, Sample, Source

WINDOWS = {"10m": 600.0, "1h": 3600.0}
FAILED = Family(
    name="lakehouse_failed_runs",
    help="Runs of a job that failed within the last 10 or 60 minutes",
    unit="runs",
    labels=("job", "window"),
)
# By job, when its runs of a time failed, in seconds since the epoch; given the beginning of the time.
Failures = Callable[[float], Mapping[str, list[float]]]


def source(failures: Failures) -> Source:
    """Of each job that had a failure."""

    def read(now: float) -> Iterator[Sample]:
        for job, moments in sorted(failures(now - max(WINDOWS.values())).items()):
            for window, seconds in WINDOWS.items():
                yield FAILED.of(sum(moment > now - seconds for moment in moments), job, window)

    return Source(name="runs", families=(FAILED,), read=read)
