"""What a dataset promises, one objective at a time: what is counted, what it must keep to, and which share of it must."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dagster_project.contract.model import Dataset

Name = Literal[
    "lag_records",
    "lag_seconds",
    "freshness",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "completeness",
    "availability",
]
Unit = Literal["records", "seconds", "share"]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One objective of a dataset, or of one region of it.

    Attributes:
        region: `None` stands for all of them.
        bound: what a value may be at most; of a share, at least; `None`: it is measured, and nothing is promised.
        target: share of what is counted that must keep to the bound, below 1.
        gaps: whether moments at which nobody measured are bad ones, as nobody could say that it was kept.
    """

    dataset: str
    region: str | None
    name: Name
    bound: float | None
    unit: Unit
    target: float
    gaps: bool


def promises(dataset: Dataset) -> Iterator[Promise]:
    """All objectives of a dataset, in the order in which people read them.

    A percentile is its own target: "the 95th percentile is below a minute" says that 95 of 100 events take less.
    """
    slo = dataset.slo

    def one(
        name: Name, bound: float | None, unit: Unit, target: float, *, region: str | None = None, gaps: bool = False
    ) -> Promise:
        return Promise(dataset=dataset.name, region=region, name=name, bound=bound, unit=unit, target=target, gaps=gaps)

    yield one("lag_records", slo.lag_records, "records", slo.lag_target)
    yield one("lag_seconds", slo.lag.total_seconds(), "seconds", slo.lag_target)
    for region in dataset.regions:
        yield one("freshness", slo.freshness.total_seconds(), "seconds", slo.freshness_target, region=region)
    yield one("latency_p50", slo.latency_p50.total_seconds(), "seconds", 0.5)
    yield one("latency_p95", slo.latency_p95.total_seconds(), "seconds", 0.95)
    yield one("latency_p99", slo.latency.total_seconds(), "seconds", 0.99)
    yield one("completeness", slo.completeness, "share", slo.completeness)
    for region in dataset.regions:
        yield one("availability", slo.availability, "share", slo.availability, region=region, gaps=True)
