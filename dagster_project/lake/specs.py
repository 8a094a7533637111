"""The tables that follow from a contract."""

from __future__ import annotations

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP, polars_schema
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, VERSION_TIME, Column, Dataset, Mart
from dagster_project.lake.table import TableSpec

# What a Bronze row is: an event that fits the contract, a message that does not, or a delete.
EVENT, POISON, TOMBSTONE = "event", "poison", "tombstone"
# Why a message is poison.
ERROR = "_error"
# The version of quarantine in which a row was released to Silver.
RELEASE = "_release"
# What a message has beyond its contract: a JSON object of the fields that the contract does not know, as they were sent.
RESCUED = "_rescued"

# By how many µs an event was behind the newest one that stood before it in its Kafka partition for its region, where that
# is more than the allowed lateness.
LATE = "_late_us"

# Where a row comes from, the batch that it came with, and how late; the same in Bronze, Silver and quarantine.
COORDINATES: dict[str, pl.DataType] = {
    "_kafka_partition": pl.Int32(),
    "_kafka_offset": pl.Int64(),
    "_kafka_timestamp": TIMESTAMP,
    "_correlation_id": pl.String(),
    "_batch_id": pl.Int64(),
    LATE: pl.Int64(),
}
# A message as the broker gave it.
MESSAGE: dict[str, pl.DataType] = {
    "_key": pl.Binary(),
    "_payload": pl.Binary(),
    "_headers": pl.List(pl.Struct({"key": pl.String(), "value": pl.Binary()})),
}
# Correlation ids that a run tells of a batch: a log is read by people, and the rest is in the tables.
_NAMED = 10
# Of an id, which is whatever its producer made of it.
_LONGEST = 128
KEYS = (DATE_COLUMN, REGION_COLUMN)
PARTITION: dict[str, pl.DataType] = {DATE_COLUMN: pl.Date(), REGION_COLUMN: pl.String()}
# A run of offsets, both ends included, that have no row in Bronze; of those that had one, its table partition and the
# place of the account (`silver_rows`, …) that was proven before it was deleted.
LEDGER: dict[str, pl.DataType] = {
    "_kafka_partition": pl.Int32(),
    "first_offset": pl.Int64(),
    "last_offset": pl.Int64(),
    "kind": pl.String(),
    "note": pl.String(),
    "declared_by": pl.String(),
    "recorded_at": TIMESTAMP,
    "batch_id": pl.Int64(),
    **PARTITION,
    "place": pl.String(),
}


def _table_columns(columns: tuple[Column, ...]) -> dict[str, pl.DataType]:
    return {name: dtype for name, dtype in polars_schema(columns).items() if name not in PARTITION}


def _bronze_columns(dataset: Dataset) -> dict[str, pl.DataType]:
    """What is typed in Bronze: of a later major version only what all versions have alike, as all share the table."""
    columns = _table_columns(dataset.columns)
    return {name: columns[name] for name in columns if name in dataset.routing or not dataset.reads_payloads}


def bronze(dataset: Dataset) -> TableSpec:
    """Every message of the topic as received, with what could be decoded of it beside it."""
    return TableSpec(
        layer="bronze",
        name=dataset.name,
        schema={
            **COORDINATES,
            "_ingested_at": TIMESTAMP,
            "_kind": pl.String(),
            ERROR: pl.String(),
            RESCUED: pl.String(),
            **MESSAGE,
            **_bronze_columns(dataset),
            **PARTITION,
        },
        partition_by=KEYS,
        statistics=("_batch_id", "_kind", "_kafka_offset", dataset.event_time),
        own_statistics=False,
        many_writers=True,
        description=f"Messages of {dataset.topic.name} as received.",
    )


def silver(dataset: Dataset) -> TableSpec:
    """Typed rows, one for each identity; `_deleted` marks tombstones: of a history all, else a key's newest version."""
    return TableSpec(
        layer="silver",
        name=dataset.table,
        schema={
            **_table_columns(dataset.published),
            **COORDINATES,
            RESCUED: pl.String(),
            "_deleted": pl.Boolean(),
            **PARTITION,
        },
        partition_by=KEYS,
        statistics=("_batch_id", dataset.event_time),
        description=dataset.description,
    )


def named(*rows: pl.DataFrame) -> tuple[str, ...]:
    """Correlation ids of rows, a few at the most; those of the first frame before those of the next."""
    ids = (name for frame in rows for name in frame["_correlation_id"].head(_NAMED).str.head(_LONGEST))
    return tuple(dict.fromkeys(ids))[:_NAMED]


def version_time(dataset: Dataset) -> pl.Expr:
    """Event time; of a delete, which has none, the time at which it was sent."""
    return pl.coalesce(dataset.event_time, "_kafka_timestamp").alias(VERSION_TIME)


def quarantine(dataset: Dataset) -> TableSpec:
    """Decoded rows that broke a row rule, with every reason, as received; those with a `_release` have left for Silver."""
    return TableSpec(
        layer="quarantine",
        name=dataset.table,
        schema={
            **COORDINATES,
            "_reasons": pl.List(pl.String()),
            "_quarantined_at": TIMESTAMP,
            RELEASE: pl.Int64(),
            **MESSAGE,
            **PARTITION,
        },
        partition_by=KEYS,
        statistics=("_batch_id", "_kafka_offset"),
        description=f"Rows of {dataset.name} that broke a rule of the contract.",
    )


def ledger(dataset: Dataset) -> TableSpec:
    """Offsets without a message, declared losses, and what the retention has deleted.

    By kind, as losses are looked up at each start of an ingest, and what has expired is the most by far.
    """
    return TableSpec(
        layer="ledger",
        name=dataset.name,
        schema=LEDGER,
        partition_by=("kind",),
        statistics=(DATE_COLUMN,),
        # Gaps and what has expired are written by runs that know nothing of each other; two of a kind move one cursor.
        many_writers=True,
        description=f"Offsets of {dataset.topic.name} that have no row in Bronze, and why.",
    )


def gold(mart: Mart) -> TableSpec:
    """The rows of a mart's SQL."""
    return TableSpec(
        layer="gold",
        name=mart.name,
        schema=polars_schema(mart.columns),
        partition_by=mart.partitioned_by,
        description=mart.description,
    )


def measurements() -> TableSpec:
    """What the service levels were, time after time; of one date all that was measured on it."""
    return TableSpec(
        layer="ops",
        name="measurements",
        schema={
            "at": TIMESTAMP,
            "dataset": pl.String(),
            "region": pl.String(),
            "objective": pl.String(),
            "value": pl.Float64(),
            "bound": pl.Float64(),
            # Of what the objective counts, how many met it and how many did not: events, or moments.
            "good": pl.Int64(),
            "bad": pl.Int64(),
            DATE_COLUMN: pl.Date(),
        },
        partition_by=(DATE_COLUMN,),
        statistics=("at",),
        many_writers=True,
        description="What was measured of each objective, by dataset and region; no region means all of them.",
    )


def costs() -> TableSpec:
    """What each materialization took of the machine and of the store."""
    return TableSpec(
        layer="ops",
        name="costs",
        schema={
            "at": TIMESTAMP,
            "asset": pl.String(),
            "run_id": pl.String(),
            # Those that its rows come from.
            "datasets": pl.List(pl.String()),
            "failed": pl.Boolean(),
            # Where the work was done; null of runs of the time before there was a choice.
            "engine": pl.String(),
            # Of Bronze, messages that were committed, each of them once; of others, rows that were looked at.
            "events": pl.Int64(),
            "wall_seconds": pl.Float64(),
            "cpu_seconds": pl.Float64(),
            "bytes_in": pl.Int64(),
            "bytes_out": pl.Int64(),
            "bytes_removed": pl.Int64(),
            "objects_in": pl.Int64(),
            "objects_out": pl.Int64(),
            "requests_put": pl.Int64(),
            "requests_get": pl.Int64(),
            DATE_COLUMN: pl.Date(),
        },
        partition_by=(DATE_COLUMN,),
        statistics=("at",),
        many_writers=True,
        description="Resources of each materialization; a price book turns them into money.",
    )


def alerts() -> TableSpec:
    """Each transition of each alert, with all that is known of the alert then."""
    return TableSpec(
        layer="ops",
        name="alerts",
        schema={
            "sequence": pl.Int64(),
            "at": TIMESTAMP,
            "alert": pl.String(),
            "scope": pl.String(),
            "state": pl.String(),
            "severity": pl.String(),
            "since": TIMESTAMP,
            # When people were told last; what is only written down does not move it.
            "told_at": TIMESTAMP,
            "cause": pl.String(),
            "folded": pl.List(pl.String()),
            "summary": pl.String(),
            "runbook": pl.String(),
            "command": pl.String(),
            "correlation_id": pl.String(),
            DATE_COLUMN: pl.Date(),
        },
        partition_by=(DATE_COLUMN,),
        statistics=("at", "sequence"),
        many_writers=True,
        description="Transitions of alerts: new, firing, resolved.",
    )


def ops() -> tuple[TableSpec, ...]:
    """The platform's tables about itself."""
    return (measurements(), costs(), alerts())
