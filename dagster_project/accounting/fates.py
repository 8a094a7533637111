"""What became of each Bronze row, decided by what the other tables hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from dagster_project.accounting.soundness import Evidence
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.refine.merge import VERSION_ORDER, VERSION_TIME, doubled_keys, version_time
from dagster_project.refine.plan import progress
from dagster_project.topics.offsets import MASK, Offsets, Places, place

# Bronze rows whose keys are compared with Silver's at a time.
_ROWS = 2_000_000
_KEY = "_key_hash"


@dataclass(frozen=True, kw_only=True)
class Fates:
    """Bronze's offsets by what became of them, in sets that share no offset.

    Attributes:
        bronze: all of them.
        doubled: in more than one place.
        lost: in Bronze, read by Silver, and nowhere.
        strays: by layer, offsets that are not in Bronze.
        doubled_keys: merge keys with more than one row in Silver.
    """

    bronze: Offsets
    silver: Offsets
    superseded: Offsets
    quarantined: Offsets
    tombstones: Offsets
    pending: Offsets
    doubled: Offsets
    lost: Offsets
    strays: dict[str, Offsets]
    doubled_keys: int
    rows: int


def fates(dataset: Dataset, *, bronze: Evidence, silver: Evidence, quarantine: Evidence) -> Fates:
    """Give each row of Bronze its place."""
    places, poison, waiting = _bronze(bronze, progress(silver.table))
    everything, twice = Offsets.of_places(places), _twice(places)
    refined = _silver(dataset, silver)
    live, marks = _places(refined.filter(~pl.col("_deleted"))), _places(refined.filter("_deleted"))
    in_silver, in_quarantine = Offsets.of_places(live) | Offsets.of_places(marks), _quarantine(quarantine)
    doubled = twice | (in_silver & in_quarantine & everything) | (poison & (in_silver | in_quarantine))
    left = everything - doubled
    poisoned, left = left & poison, left - poison
    pending, left = left & waiting, left - waiting
    tombstones, left = left & Offsets.of_places(marks), left - Offsets.of_places(marks)
    shown, left = left & Offsets.of_places(live), left - Offsets.of_places(live)
    gated, left = left & in_quarantine, left - in_quarantine
    superseded, deletes = _beaten(dataset, bronze, left, refined)
    keys = refined[_KEY]
    return Fates(
        bronze=everything,
        silver=shown,
        superseded=superseded,
        quarantined=poisoned | gated,
        tombstones=tombstones | deletes,
        pending=pending,
        doubled=doubled,
        lost=left - superseded - deletes,
        strays={"silver": in_silver - everything, "quarantine": in_quarantine - everything},
        # Two keys may have one hash, if once in a million tables of this size: then the keys themselves decide.
        doubled_keys=doubled_keys(dataset, silver.table, silver.files)
        if silver.table is not None and keys.n_unique() < len(keys)
        else 0,
        rows=len(places),
    )


def _bronze(bronze: Evidence, done: dict[Key, int]) -> tuple[Places, Offsets, Offsets]:
    """All places, sorted; those of poison; and those that Silver has not looked at."""
    if bronze.table is None:
        return np.empty(0, np.int64), Offsets(), Offsets()
    through = [done.get(Key(*row), -1) for row in bronze.files.select(specs.KEYS).iter_rows()]
    files = bronze.files.with_columns(pl.Series("_through", through, pl.Int64))
    # A file of nothing but events that Silver has seen, as nearly all are, need not be asked row by row.
    plain = (
        (pl.col("min._kind") == specs.EVENT)
        & (pl.col("max._kind") == specs.EVENT)
        & (pl.col("max._batch_id") <= pl.col("_through"))
    ).fill_null(False)
    settled = bronze.table.rows(files.filter(plain)).select(place()).collect(engine="in-memory")
    bounds = files.select(*specs.KEYS, "_through").unique()
    rest = (
        bronze.table.rows(files.filter(~plain))
        .select(place(), "_kind", "_batch_id", *specs.KEYS)
        .join(bounds.lazy(), on=specs.KEYS, nulls_equal=True)
        .collect(engine="in-memory")
    )
    poison = pl.col("_kind") == specs.POISON
    waiting = rest.filter(~poison & (pl.col("_batch_id") > pl.col("_through")))
    return (
        _places(pl.concat([settled, rest.select("place")])),
        Offsets.of_places(_places(rest.filter(poison))),
        Offsets.of_places(_places(waiting)),
    )


def _silver(dataset: Dataset, silver: Evidence) -> pl.DataFrame:
    """`place, _deleted`, a hash of the merge key, and the version time of each row."""
    if silver.table is None:
        schema = {"place": pl.Int64, "_deleted": pl.Boolean, _KEY: pl.UInt64}
        return pl.DataFrame(schema={**schema, VERSION_TIME: specs.COORDINATES["_kafka_timestamp"]})
    rows = silver.table.rows(silver.files)
    return rows.select(place(), "_deleted", _key(dataset), version_time(dataset)).collect(engine="in-memory")


def _quarantine(quarantine: Evidence) -> Offsets:
    if quarantine.table is None:
        return Offsets()
    return Offsets.of_places(
        _places(quarantine.table.rows(quarantine.files).select(place()).collect(engine="in-memory"))
    )


def _beaten(dataset: Dataset, bronze: Evidence, left: Offsets, refined: pl.DataFrame) -> tuple[Offsets, Offsets]:
    """Of rows that are in no table, those that Silver has a winning version of the same key for: events, and deletes."""
    if not left or bronze.table is None:
        return Offsets(), Offsets()
    events, deletes = [Offsets()], [Offsets()]
    files = bronze.files.filter(pl.col("max._kind") != specs.POISON)
    portions = files.with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    for part in portions.partition_by("_portion", include_key=False):
        rows = bronze.table.rows(part).select(place(), "_kind", _key(dataset), version_time(dataset))
        rest = rows.collect(engine="in-memory")
        rest = rest.filter(pl.Series(left.has(rest["place"].to_numpy())))
        if rest.is_empty():
            continue
        winners = refined.join(rest.select(_KEY), on=_KEY, how="semi").unique(_KEY)
        beaten = rest.join(winners, on=_KEY, suffix="_winner").filter(_goes_before(dataset))
        deleted = pl.col("_kind") == specs.TOMBSTONE
        events.append(Offsets.of_places(_places(beaten.filter(~deleted))))
        deletes.append(Offsets.of_places(_places(beaten.filter(deleted))))
    return Offsets.union(*events), Offsets.union(*deletes)


def _goes_before(dataset: Dataset) -> pl.Expr:
    """Whether a winner is a newer version than the row beside it; of an append-only dataset, any is."""
    if dataset.write_mode == "append":
        return pl.lit(True)
    beaten = pl.lit(False)
    for name in reversed(VERSION_ORDER):
        own, winner = _of_version(name, ""), _of_version(name, "_winner")
        beaten = (winner > own) | ((winner == own) & beaten)
    return beaten


def _of_version(name: str, suffix: str) -> pl.Expr:
    return {
        VERSION_TIME: pl.col(f"{VERSION_TIME}{suffix}"),
        "_kafka_offset": pl.col(f"place{suffix}") & MASK,
        "_kafka_partition": pl.col(f"place{suffix}"),  # the Kafka partition first: and offsets are equal by then
    }[name]


def _key(dataset: Dataset) -> pl.Expr:
    key = list(dataset.merge_key)
    return (pl.col(key[0]) if len(key) == 1 else pl.struct(key)).hash().alias(_KEY)


def _places(rows: pl.DataFrame) -> Places:
    return rows["place"].sort().to_numpy()


def _twice(places: Places) -> Offsets:
    return Offsets.of_places(places[1:][places[1:] == places[:-1]])
