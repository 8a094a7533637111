"""What Silver has of each identity, and which rows it has superseded."""

from __future__ import annotations

import polars as pl

from dagster_project.accounting.soundness import Evidence
from dagster_project.contract.model import VERSION_TIME, Dataset
from dagster_project.lake import specs
from dagster_project.refine.merge import VERSION_ORDER
from dagster_project.refine.payloads import read_again
from dagster_project.refine.protect import pseudonymised
from dagster_project.topics.offsets import MASK, Offsets, place

# Bronze rows whose keys are compared with Silver's at a time.
_ROWS = 2_000_000
KEY = "_key_hash"


def versions(dataset: Dataset, silver: Evidence) -> pl.DataFrame:
    """`_place, _deleted`, a hash of the identity, and the version time of each row."""
    if silver.table is None:
        schema = {"_place": pl.Int64, "_deleted": pl.Boolean, KEY: pl.UInt64}
        return pl.DataFrame(schema={**schema, VERSION_TIME: specs.COORDINATES["_kafka_timestamp"]})
    rows = silver.table.rows(silver.files).with_columns(specs.version_time(dataset))
    return rows.select(place(), "_deleted", _key(dataset), VERSION_TIME).collect(engine="in-memory")


def superseded(dataset: Dataset, bronze: Evidence, left: Offsets, refined: pl.DataFrame) -> tuple[Offsets, Offsets]:
    """Of rows that are in no table, those that Silver has a winner of the same identity for: events, and deletes."""
    if not left or bronze.table is None:
        return Offsets(), Offsets()
    events, deletes = [Offsets()], [Offsets()]
    hidden = any(column.name in dataset.merge_key for column in dataset.protected)
    files = bronze.files if dataset.reads_payloads else bronze.files.filter(pl.col("max._kind") != specs.POISON)
    portions = files.with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    for part in portions.partition_by("_portion", include_key=False):
        # Silver may have pseudonyms in the key, and so only their hash is that of its rows.
        key = [_key(dataset)] if not hidden else [name for name in dataset.identity if name != VERSION_TIME]
        rows = bronze.table.rows(part).with_columns(specs.version_time(dataset))
        rows = rows.select(place(), "_kind", *key, VERSION_TIME)
        rest = rows.collect(engine="in-memory")
        rest = rest.filter(pl.Series(left.has(rest["_place"].to_numpy())))
        if dataset.reads_payloads:
            rest = _judged_here(dataset, bronze.table.rows(part), rest)
        if rest.is_empty():
            continue
        if hidden:
            rest = pseudonymised(dataset, rest).with_columns(_key(dataset))
        winners = refined.join(rest.select(KEY), on=KEY, how="semi").unique(KEY)
        beaten = rest.join(winners, on=KEY, suffix="_winner").filter(_goes_before(dataset))
        deleted = pl.col("_kind") == specs.TOMBSTONE
        events.append(Offsets.of_rows(beaten.filter(~deleted)))
        deletes.append(Offsets.of_rows(beaten.filter(deleted)))
    return Offsets.union(*events), Offsets.union(*deletes)


def _judged_here(dataset: Dataset, bronze: pl.LazyFrame, rest: pl.DataFrame) -> pl.DataFrame:
    """What another major version called poison has no key in Bronze: it is in its payload."""
    poison = rest.filter(pl.col("_kind") == specs.POISON)
    if poison.is_empty():
        return rest
    messages = bronze.filter(place().is_in(poison["_place"].implode())).collect(engine="in-memory")
    again = read_again(dataset, messages).with_columns(specs.version_time(dataset))
    again = again.select(place(), "_kind", _key(dataset), VERSION_TIME)
    return pl.concat([rest.filter(pl.col("_kind") != specs.POISON), again.filter(pl.col("_kind") != specs.POISON)])


def _goes_before(dataset: Dataset) -> pl.Expr:
    """Whether a winner is a newer version than the row beside it; where none ever gives way, any is."""
    if dataset.write_mode != "upsert":
        return pl.lit(True)
    beaten = pl.lit(False)
    for name in reversed(VERSION_ORDER):
        own, winner = _of_version(name, ""), _of_version(name, "_winner")
        beaten = (winner > own) | ((winner == own) & beaten)
    return beaten


def _of_version(name: str, suffix: str) -> pl.Expr:
    return {
        VERSION_TIME: pl.col(f"{VERSION_TIME}{suffix}"),
        "_kafka_offset": pl.col(f"_place{suffix}") & MASK,
        "_kafka_partition": pl.col(f"_place{suffix}"),  # the Kafka partition first: and offsets are equal by then
    }[name]


def _key(dataset: Dataset) -> pl.Expr:
    key = list(dataset.identity)
    return (pl.col(key[0]) if len(key) == 1 else pl.struct(key)).hash().alias(KEY)
