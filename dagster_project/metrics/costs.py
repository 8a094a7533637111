"""What each asset took within a day, and what that costs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from dagster_project.cost.prices import Prices
from dagster_project.cost.report import report
from dagster_project.lake.storage import Storage
from dagster_project.metrics.family import Family, Sample, Source

_ASSET = ("asset",)
CPU = Family(
    name="lakehouse_cpu_seconds", help="CPU that runs of the last day took for an asset", unit="seconds", labels=_ASSET
)
USD = Family(
    name="lakehouse_cost_usd",
    help="Cost of an asset's runs of the last day, by the price book",
    unit="US dollars",
    labels=_ASSET,
)
PER_MILLION = Family(
    name="lakehouse_cost_usd_per_million_events",
    help="The same for a million events of the datasets that it comes from",
    unit="US dollars",
    labels=_ASSET,
)
_DAY = dt.timedelta(days=1)
# It reads a row for each materialization of a day, and changes slowly.
_EVERY_S = 60.0


def source(*, storage: Storage, prices: Prices) -> Source:
    """Of each asset that was worked on."""

    def read(now: float) -> Iterator[Sample]:
        until = dt.datetime.fromtimestamp(now, dt.UTC)
        for cost in report(storage=storage, prices=prices, since=until - _DAY, until=until):
            yield CPU.of(cost.cpu_seconds, cost.asset)
            yield USD.of(cost.usd, cost.asset)
            if cost.usd_per_million is not None:
                yield PER_MILLION.of(cost.usd_per_million, cost.asset)

    return Source(name="cost", families=(CPU, USD, PER_MILLION), read=read, every_s=_EVERY_S)
