"""What each asset costs, and for a million events, from `ops/costs` and the price book."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.cost.charge import Charge, charge, per_million, vcpu_hour
from dagster_project.cost.prices import Prices
from dagster_project.lake import specs
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table

_USED = tuple(field.name for field in fields(Used))
_BRONZE = "bronze/"
_HOUR_S = 3600


@dataclass(frozen=True, kw_only=True)
class AssetCost:
    """What an asset has taken, and what that costs in dollars.

    Attributes:
        datasets: those that its rows come from.
        runs, failed: how often it was worked on, and how often that failed.
        events: messages that Bronze took in of these datasets, each of them once, however often it was worked on since.
        requests: of the store, those that are priced as PUT and as GET.
        usd: of the machine, the store and the requests.
        usd_per_million: for a million `events`; `None` where there were none.
    """

    asset: str
    datasets: tuple[str, ...]
    runs: int
    failed: int
    events: int
    wall_seconds: float
    cpu_seconds: float
    bytes_in: int
    bytes_out: int
    bytes_removed: int
    objects_in: int
    objects_out: int
    requests: int
    requests_put: int
    requests_get: int
    machine_usd: float
    store_usd: float
    requests_usd: float
    usd: float
    usd_per_million: float | None


def report(*, storage: Storage, prices: Prices, since: dt.datetime, until: dt.datetime) -> tuple[AssetCost, ...]:
    """What each asset has cost in the runs that ended from one moment to another, by name; the end is not in it.

    Args:
        since, until: with a time zone.

    Raises:
        LakeError: the store cannot be read.
    """
    return priced(recorded(storage=storage, since=since, until=until), prices=prices)


def recorded(*, storage: Storage, since: dt.datetime, until: dt.datetime) -> pl.DataFrame:
    """Rows of `ops/costs` from one moment to another; the end is not in it."""
    table = Table.find(specs.costs(), storage=storage)
    if table is None:
        return pl.DataFrame(schema=dict(specs.costs().schema))
    days = pl.col(DATE_COLUMN).is_between(since.astimezone(dt.UTC).date(), until.astimezone(dt.UTC).date())
    at = pl.col("at")
    return table.rows(table.files().filter(days)).filter(at >= since, at < until).collect(engine="in-memory")


def priced(rows: pl.DataFrame, *, prices: Prices) -> tuple[AssetCost, ...]:
    """What each asset has cost, of rows of `ops/costs`."""
    bronze = rows.filter(pl.col("asset").str.starts_with(_BRONZE))
    taken = dict(bronze.explode("datasets").group_by("datasets").agg(pl.sum("events")).iter_rows())
    datasets = pl.col("datasets").explode().drop_nulls().unique().sort()
    rate = pl.lit(vcpu_hour(prices, "local"))
    for engine in ("glue", "emr"):
        rate = pl.when(pl.col("engine") == engine).then(vcpu_hour(prices, engine)).otherwise(rate)
    machine = (pl.col("cpu_seconds") / _HOUR_S * rate).sum()
    assets = rows.group_by("asset").agg(
        datasets, machine.alias("machine"), pl.len().alias("runs"), pl.sum("failed"), *map(pl.sum, _USED)
    )
    found: list[AssetCost] = []
    for row in assets.sort("asset").iter_rows(named=True):
        used = Used(**{name: row[name] for name in _USED})
        found.append(
            _cost(
                row["asset"],
                tuple(row["datasets"]),
                used,
                replace(charge(used, prices), machine=row["machine"]),
                runs=row["runs"],
                failed=row["failed"],
                events=sum(taken.get(name, 0) for name in row["datasets"]),
            )
        )
    return tuple(found)


def total(assets: Iterable[AssetCost]) -> AssetCost:
    """All assets together, and the events of each dataset once."""
    parts = list(assets)
    return _cost(
        "total",
        tuple(sorted({name for part in parts for name in part.datasets})),
        sum((Used(**{name: getattr(part, name) for name in _USED}) for part in parts), Used()),
        Charge(
            machine=sum(part.machine_usd for part in parts),
            store=sum(part.store_usd for part in parts),
            requests=sum(part.requests_usd for part in parts),
        ),
        runs=sum(part.runs for part in parts),
        failed=sum(part.failed for part in parts),
        events=sum(part.events for part in parts if part.asset.startswith(_BRONZE)),
    )


def _cost(
    asset: str, datasets: tuple[str, ...], used: Used, cost: Charge, *, runs: int, failed: int, events: int
) -> AssetCost:
    return AssetCost(
        asset=asset,
        datasets=datasets,
        runs=runs,
        failed=failed,
        events=events,
        **asdict(used),
        requests=used.requests_put + used.requests_get,
        machine_usd=cost.machine,
        store_usd=cost.store,
        requests_usd=cost.requests,
        usd=cost.usd,
        usd_per_million=per_million(cost.usd, events),
    )
