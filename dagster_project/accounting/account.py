"""The one rule, proven: every Kafka offset below the cursor has exactly one place.

Everything is computed from the tables and the broker; nothing is believed because a run said so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from dagster_project.accounting.broker_log import broker_log
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.cursor import Cursor, resume
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.plan import pending_gold, progress
from dagster_project.topics.broker import Topic

_PLACE = ["_kafka_partition", "_kafka_offset"]


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where the offsets of a topic are. The counts of offsets add up to `offsets`.

    Attributes:
        offsets: from the first that was ever to be read up to the cursor, over all Kafka partitions.
        bronze_rows: rows of Bronze.
        silver_rows: offsets that are a live row in Silver.
        superseded: a newer version or an earlier copy of the same key is in Silver.
        quarantined: poison in Bronze, or a row in quarantine with the rules that it broke.
        tombstones: deletes.
        gaps: offsets that hold no message: control records, aborted transactions, compaction.
        lost: declared lost by a person.
        pending: in Bronze, and not yet looked at by Silver.
        unaccounted: without a proven place, or with more than one.
        gold_rows: rows in all marts of the dataset.
        gold_stale: table partitions of marts that are older than Silver.
        unproven_gaps: of `gaps`, those that the broker no longer has and so cannot confirm.
        problems: each kind of damage, with its first places.
    """

    dataset: str
    offsets: int
    bronze_rows: int
    silver_rows: int
    superseded: int
    quarantined: int
    tombstones: int
    gaps: int
    lost: int
    pending: int
    unaccounted: int
    gold_rows: int
    gold_stale: int
    unproven_gaps: int
    accounted: bool
    problems: tuple[str, ...]


def account(
    dataset: Dataset, *, catalog: Catalog, storage: Storage, topic: Topic | None, bootstrap_servers: str, payloads: bool = False
) -> Account:
    """Account for every offset of a dataset's topic.

    Args:
        topic: as the broker describes it now; `None` to prove what can be proven from the tables alone.
        payloads: compare keys and payloads with the broker's too, not only offsets.

    Raises:
        TopicIdentityError, OffsetLossError: the topic is not the one that Bronze was read from, or has lost events.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    silver = Table.find(specs.silver(dataset), storage=storage)
    quarantine = Table.find(specs.quarantine(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if topic is not None:
        resume(cursor, topic)
    problems: list[str] = []
    rows = _fates(dataset, bronze, silver, quarantine)
    fates = dict(rows["fate"].value_counts().iter_rows())
    offsets = 0 if cursor is None else sum(cursor.next[partition] - cursor.start[partition] for partition in cursor.next)
    bad = rows.filter(pl.col("fate").is_in(["unaccounted", "doubled"]))
    problems += _damage(bad.filter(pl.col("fate") == "unaccounted"), "neither in Silver, superseded, nor quarantined")
    problems += _damage(bad.filter(pl.col("fate") == "doubled"), "in more than one place")
    strays = 0
    for table in (silver, quarantine):
        found = _strays(table, rows)
        strays += len(found)
        problems += _damage(found, f"in {table.spec.layer if table else ''}, but not in Bronze")
    doubles = _double_keys(dataset, silver)
    if doubles:
        problems.append(f"{doubles} merge keys have more than one row in Silver")
    outside = _outside(rows, cursor)
    problems += _damage(outside, "in Bronze, but not below the cursor")
    missing, unproven = 0, offsets - rows.select(_PLACE).unique().height
    if topic is not None and cursor is not None:
        log = broker_log(topic, cursor, bootstrap_servers=bootstrap_servers, payloads=payloads)
        absent = log.join(rows.select(_PLACE), on=_PLACE, how="anti")
        missing = len(absent)
        problems += _damage(absent, "on the broker, but not in Bronze")
        problems += _differences(bronze, log) if payloads else []
        gone = sum(max(min(topic.first[p], cursor.next[p]) - cursor.start[p], 0) for p in cursor.next)
        # Offsets that the broker has deleted since can no longer be compared; those in Bronze need no comparison.
        below = pl.DataFrame({"_kafka_partition": list(topic.first), "first": list(topic.first.values())}, schema={"_kafka_partition": pl.Int32, "first": pl.Int64})
        unproven = gone - rows.join(below, on="_kafka_partition").filter(pl.col("_kafka_offset") < pl.col("first")).height
    gaps = offsets - len(rows) - missing + (len(rows) - rows.select(_PLACE).unique().height)
    marts = catalog.marts_of(dataset.name)
    golds = {f"gold/{mart.name}": Table.find(specs.gold(mart), storage=storage) for mart in marts}
    silvers = {f"silver/{other.name}": Table.find(specs.silver(other), storage=storage) for other in catalog.datasets}
    unaccounted = fates.get("unaccounted", 0) + fates.get("doubled", 0) + missing + strays + doubles + len(outside)
    return Account(
        dataset=dataset.name,
        offsets=offsets,
        bronze_rows=len(rows),
        silver_rows=fates.get("silver", 0),
        superseded=fates.get("superseded", 0),
        quarantined=fates.get("quarantined", 0),
        tombstones=fates.get("tombstone", 0),
        gaps=gaps,
        lost=0,
        pending=fates.get("pending", 0),
        unaccounted=unaccounted,
        gold_rows=sum(int(gold.files()["num_records"].sum()) for gold in golds.values() if gold is not None),
        gold_stale=sum(len(pending_gold(mart, {**golds, **silvers})) for mart in marts),
        unproven_gaps=unproven,
        accounted=unaccounted == 0 and not problems,
        problems=tuple(problems),
    )


def _fates(dataset: Dataset, bronze: Table | None, silver: Table | None, quarantine: Table | None) -> pl.DataFrame:
    """Bronze's coordinates, each with its `fate`."""
    key = list(dataset.merge_key)
    columns = [*_PLACE, "_batch_id", "_kind", *specs.KEYS, *key, "_kafka_timestamp", dataset.event_time]
    if bronze is None:
        return pl.DataFrame(schema={"_kafka_partition": pl.Int32, "_kafka_offset": pl.Int64, "fate": pl.String})
    rows = bronze.rows().select(list(dict.fromkeys(columns))).with_columns(_time(dataset)).collect(engine="in-memory")
    done = progress(silver)
    through = pl.DataFrame(
        [(key.date, key.region, batch) for key, batch in done.items()],
        schema={"event_date": pl.Date, "region": pl.String, "_through": pl.Int64},
        orient="row",
    )
    in_silver = _coordinates(silver, "_deleted").with_columns(pl.lit(True).alias("in_silver"))
    in_quarantine = _coordinates(quarantine).with_columns(pl.lit(True).alias("in_quarantine"))
    rows = (
        rows.join(in_silver, on=_PLACE, how="left")
        .join(in_quarantine, on=_PLACE, how="left")
        .join(through, on=specs.KEYS, how="left", nulls_equal=True)
    )
    twice = pl.struct(_PLACE).is_duplicated()
    rows = rows.with_columns(
        pl.when(twice | (pl.col("in_silver") & pl.col("in_quarantine")))
        .then(pl.lit("doubled"))
        .when(pl.col("_kind") == specs.POISON)
        .then(pl.lit("quarantined"))
        .when(pl.col("_batch_id") > pl.col("_through").fill_null(-1))
        .then(pl.lit("pending"))
        .when(pl.col("in_silver") & pl.col("_deleted"))
        .then(pl.lit("tombstone"))
        .when(pl.col("in_silver"))
        .then(pl.lit("silver"))
        .when(pl.col("in_quarantine"))
        .then(pl.lit("quarantined"))
        .alias("fate")
    )
    undecided = rows.filter(pl.col("fate").is_null())
    decided = [rows.filter(pl.col("fate").is_not_null()).select(*_PLACE, "fate")]
    return pl.concat([*decided, *([] if silver is None else [_superseded(dataset, undecided, silver)])])


def _superseded(dataset: Dataset, rest: pl.DataFrame, silver: Table) -> pl.DataFrame:
    """Rows that are in no table: superseded, if Silver proves it by a version of the same key that goes before them."""
    key = list(dataset.merge_key)
    winners = (
        silver.rows()
        .join(rest.lazy().select(key), on=key, how="semi")
        .with_columns(_time(dataset))
        .select(*key, pl.col("_time").alias("w_time"), pl.col("_kafka_offset").alias("w_offset"))
        .unique(key)
        .collect(engine="in-memory")
    )
    beaten = (pl.col("w_time") > pl.col("_time")) | ((pl.col("w_time") == pl.col("_time")) & (pl.col("w_offset") > pl.col("_kafka_offset")))
    if dataset.write_mode == "append":
        beaten = pl.col("w_time").is_not_null()
    judged = rest.join(winners, on=key, how="left").with_columns(
        pl.when(~beaten.fill_null(False))
        .then(pl.lit("unaccounted"))
        .when(pl.col("_kind") == specs.TOMBSTONE)
        .then(pl.lit("tombstone"))
        .otherwise(pl.lit("superseded"))
        .alias("fate")
    )
    return judged.select(*_PLACE, "fate")


def _time(dataset: Dataset) -> pl.Expr:
    return pl.coalesce(dataset.event_time, "_kafka_timestamp").alias("_time")


def _coordinates(table: Table | None, *more: str) -> pl.DataFrame:
    schema = {"_kafka_partition": pl.Int32(), "_kafka_offset": pl.Int64(), **dict.fromkeys(more, pl.Boolean())}
    return pl.DataFrame(schema=schema) if table is None else table.rows().select(*schema).unique(_PLACE).collect(engine="in-memory")


def _strays(table: Table | None, rows: pl.DataFrame) -> pl.DataFrame:
    return _coordinates(table).join(rows.select(_PLACE), on=_PLACE, how="anti")


def _double_keys(dataset: Dataset, silver: Table | None) -> int:
    if silver is None:
        return 0
    counts = silver.rows().group_by(dataset.merge_key).len().filter(pl.col("len") > 1)
    return int(counts.select(pl.len()).collect().item())


def _outside(rows: pl.DataFrame, cursor: Cursor | None) -> pl.DataFrame:
    if cursor is None:
        return rows.select(_PLACE)
    bounds = pl.DataFrame(
        {"_kafka_partition": list(cursor.next), "start": [cursor.start[p] for p in cursor.next], "next": list(cursor.next.values())},
        schema={"_kafka_partition": pl.Int32, "start": pl.Int64, "next": pl.Int64},
    )
    inside = pl.col("_kafka_offset").is_between("start", pl.col("next") - 1)
    return rows.join(bounds, on="_kafka_partition", how="left").filter(~inside.fill_null(False)).select(_PLACE)


def _differences(bronze: Table | None, log: pl.DataFrame) -> Iterator[str]:
    assert bronze is not None
    messages = bronze.rows().select(*_PLACE, pl.struct("_key", "_payload").hash().alias("content")).collect(engine="in-memory")
    different = log.join(messages, on=_PLACE).filter(pl.col("content") != pl.col("content_right"))
    yield from _damage(different, "in Bronze with another key or payload than on the broker")


def _damage(rows: pl.DataFrame, what: str) -> list[str]:
    if rows.is_empty():
        return []
    places = ", ".join(f"{partition}/{offset}" for partition, offset in rows.select(_PLACE).sort(_PLACE).head(5).iter_rows())
    return [f"{len(rows)} offsets are {what}: {places}{', …' if len(rows) > 5 else ''}"]
