"""How the service levels stand, from what was measured of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from dagster_project.contract.model import Catalog
from dagster_project.lake.storage import Storage
from dagster_project.metrics.family import Family, Sample, Source
from dagster_project.slo.status import status

# The region is empty where an objective is of all regions together.
_OBJECTIVE = ("dataset", "region", "objective")
VALUE = Family(
    name="lakehouse_objective_value",
    help="What an objective of the contract was when it was measured last: lag_records, lag_seconds, freshness, latency_p50, "
    "latency_p95, latency_p99, completeness or availability",
    unit="records, seconds, or a share from 0 to 1",
    labels=_OBJECTIVE,
)
BOUND = Family(
    name="lakehouse_objective_bound",
    help="What it may be at most; of completeness and availability, at least",
    unit="as the value",
    labels=_OBJECTIVE,
)
LEFT = Family(
    name="lakehouse_budget_left",
    help="Share of the error budget that is left: 1 untouched, below 0 overspent",
    unit="share",
    labels=_OBJECTIVE,
)
BURN = Family(
    name="lakehouse_burn_rate",
    help="How fast the error budget was spent within a window: at 1 it lasts exactly as long as it is for",
    unit="1",
    labels=(*_OBJECTIVE, "window"),
)
AGE = Family(
    name="lakehouse_objective_age_seconds",
    help="For how long an objective has been measured. Of one that has just begun a few bad moments are all there were",
    unit="seconds",
    labels=_OBJECTIVE,
)


def source(catalog: Catalog, *, storage: Storage) -> Source:
    """Of each objective that was measured."""

    def read(now: float) -> Iterator[Sample]:
        for one in status(catalog, storage=storage, now=dt.datetime.fromtimestamp(now, dt.UTC)):
            labels = (one.dataset, one.region or "", one.name)
            if one.value is not None:
                yield VALUE.of(one.value, *labels)
            if one.bound is None:  # nothing is promised, so nothing can be spent
                continue
            yield BOUND.of(one.bound, *labels)
            yield LEFT.of(one.budget_left, *labels)
            yield AGE.of(now - one.first.timestamp(), *labels)
            for window, rate in one.burn.items():
                yield BURN.of(rate, *labels, window)

    return Source(name="objectives", families=(VALUE, BOUND, LEFT, BURN, AGE), read=read)
