"""How long events took from the broker to Gold, from the tables' own commits."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset, Mart
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds from the append to the topic until the event's table partition was current in the mart."""

    p50_s: float
    p95_s: float


def latency(dataset: Dataset, mart: Mart, *, storage: Storage) -> Latency | None:
    """Latency of all events of a dataset; `None` while nothing has reached the mart."""
    seconds = delays(dataset, mart, storage=storage)["seconds"]
    if seconds.is_empty():
        return None
    p50, p95 = seconds.quantile(0.5, "linear"), seconds.quantile(0.95, "linear")
    assert p50 is not None
    assert p95 is not None
    return Latency(p50_s=round(p50, 3), p95_s=round(p95, 3))


def delays(dataset: Dataset, mart: Mart, *, storage: Storage) -> pl.DataFrame:
    """Latency event by event, of those that have reached the mart: `_kafka_timestamp` and `seconds`.

    For each table partition, the first Silver commit that had read an event's batch, and then the first Gold commit
    that had read that Silver version. Only commits that are still in the log count.
    """
    bronze, silver, gold = (
        Table.find(spec, storage=storage) for spec in (specs.bronze(dataset), specs.silver(dataset), specs.gold(mart))
    )
    if bronze is None or silver is None or gold is None:
        return pl.DataFrame(schema={"_kafka_timestamp": TIMESTAMP, "seconds": pl.Float64})
    refined = _history(silver, "bronze").rename({"value": "_batch_id", "version": "silver"}).drop("at")
    computed = _history(gold, f"silver/{dataset.name}").rename({"value": "silver"}).drop("version")
    events = (
        bronze.rows()
        .filter(pl.col("_kind") == specs.EVENT)
        .select(*specs.KEYS, "_batch_id", "_kafka_timestamp")
        .sort("_batch_id")
        .collect(engine="in-memory")
    )
    on = list(specs.KEYS)
    in_silver = events.join_asof(
        refined.sort("_batch_id"), on="_batch_id", by=on, strategy="forward", check_sortedness=False
    )
    if len(mart.partitioned_by) == 1:
        on = [DATE_COLUMN]
    in_gold = (
        in_silver.drop_nulls("silver")
        .sort("silver")
        .join_asof(
            computed.sort("silver").drop([] if len(on) > 1 else [REGION_COLUMN]),
            on="silver",
            by=on,
            strategy="forward",
            check_sortedness=False,
        )
    )
    waited = (pl.col("at") - pl.col("_kafka_timestamp")).dt.total_milliseconds() / 1000
    return in_gold.drop_nulls("at").select("_kafka_timestamp", waited.alias("seconds"))


def _history(table: Table, prefix: str) -> pl.DataFrame:
    """Each cursor movement: table partition, `value`, and the `version` and time (`at`) of its commit."""
    rows = [
        (key.date, key.region, value, commit.version, commit.timestamp_ms)
        for commit in table.commits(table.first_commit())
        for key, value in cursor_keys(commit.cursors, prefix).items()
    ]
    schema = {
        DATE_COLUMN: pl.Date,
        REGION_COLUMN: pl.String,
        "value": pl.Int64,
        "version": pl.Int64,
        "at": pl.Datetime("ms", "UTC"),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")
