"""From Bronze to Silver: new rows are judged, deduplicated and merged, a bounded number of rows at a time."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.gate import judge
from dagster_project.refine.expired import refuse_expired
from dagster_project.refine.merge import Merge, merge, written
from dagster_project.refine.plan import cursor_name, pending_files, progress, still_planned, within
from dagster_project.topics.offsets import place

# Rows of one commit: bounds memory at some hundred MB whatever the backlog and however large a table partition is.
_ROWS = 500_000
_PLACE = ["_kafka_partition", "_kafka_offset"]


@dataclass(frozen=True, kw_only=True)
class Refined:
    """What one Silver commit did.

    Attributes:
        read: by table partition, Bronze rows that were looked at.
        written: by table partition, rows added.
        superseded: rows that a newer version or an earlier copy made redundant, of this batch and of Silver.
        reasons: of quarantined rows, how often each rule was broken.
    """

    read: dict[Key, int]
    written: dict[Key, int]
    superseded: int
    quarantined: int
    deleted: int
    reasons: dict[str, int]
    warnings: dict[str, int]


def refine(
    dataset: Dataset, *, storage: Storage, keys: Iterable[Key] | None, afresh: bool = False
) -> Iterator[Refined]:
    """Bring table partitions of Silver up to date with Bronze; yields after each commit.

    Args:
        keys: table partitions to work on; `None` means all that have something to do.
        afresh: judge and merge all of Bronze again, not only what is new; changes nothing where nothing was wrong.

    Raises:
        ExpiredError: rows that are to be read have been deleted after the retention.
        StaleCursorError: another run refines the same dataset; it goes on, this one ends.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return
    silver = Table.open(specs.silver(dataset), storage=storage)
    quarantine = Table.open(specs.quarantine(dataset), storage=storage)
    chosen = None if keys is None else list(keys)
    planned = dict(progress(silver))
    # What is judged afresh is read from its first batch, all else from where Silver is, which may have been made anew.
    kept = {key: last for key, last in planned.items() if not afresh or (chosen is not None and key not in chosen)}
    refuse_expired(dataset, bronze=bronze, done=kept, storage=storage)
    files = pending_files(bronze, {} if afresh else planned)
    files = files.join(frame_of(within(keys_of(files), chosen)), on=specs.KEYS, how="semi", nulls_equal=True)
    for part in _portions(files):
        # What it holds is gone before the next one is read.
        refined, through = _refine(dataset, part, planned, bronze=bronze, silver=silver, quarantine=quarantine)
        planned |= through
        yield refined


def _refine(
    dataset: Dataset,
    files: pl.DataFrame,
    planned: Mapping[Key, int],
    *,
    bronze: Table,
    silver: Table,
    quarantine: Table,
) -> tuple[Refined, dict[Key, int]]:
    """Work on some files in one commit; returns what it did, and by table partition the last batch that is done now."""
    rows = _new_rows(bronze, files, silver)
    verdict = judge(dataset, rows)
    read = _counts(rows)
    del rows
    through = {
        # Of what is judged afresh, the cursor is further on already, and stays.
        (key := Key(date, region)): max(last, planned.get(key, last))
        for date, region, last in files.group_by(specs.KEYS).agg(pl.max("max._batch_id")).iter_rows()
    }
    _quarantine(quarantine, verdict.bad, through, bronze=bronze, files=files)
    still_planned(silver, planned, progress(silver), through)
    merged = merge(dataset, silver, verdict.good)
    _publish(silver, merged, through)
    refined = Refined(
        read=read,
        written=_counts(merged.added),
        superseded=merged.superseded,
        quarantined=len(verdict.bad),
        deleted=merged.deleted,
        reasons=dict(Counter(verdict.bad["_reasons"].explode()).most_common()),
        warnings=verdict.warnings,
    )
    return refined, through


def _portions(files: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Split the work between table partitions, and a large one between batches, so that its cursor can stop there."""
    portion: list[pl.DataFrame] = []
    rows = 0
    for part in files.sort(*specs.KEYS, "max._batch_id").partition_by(specs.KEYS, maintain_order=True):
        count = int(part["num_records"].sum())
        if portion and rows + count > _ROWS:
            yield pl.concat(portion)
            portion, rows = [], 0
        *whole, last = _by_batches(part)
        yield from whole
        portion.append(last)
        rows += int(last["num_records"].sum())
    if portion:
        yield pl.concat(portion)


def _by_batches(part: pl.DataFrame) -> list[pl.DataFrame]:
    """Files of a table partition, in the order of their last batches, cut where no batch is on both sides."""
    cuts, rows, reached = [0], 0, -1
    for at, (first, last, count) in enumerate(part.select("min._batch_id", "max._batch_id", "num_records").iter_rows()):
        if rows + count > _ROWS and rows and first > reached:
            cuts.append(at)
            rows = 0
        rows, reached = rows + count, last
    return [part[begin:end] for begin, end in pairwise([*cuts, len(part)])]


def _new_rows(bronze: Table, files: pl.DataFrame, silver: Table) -> pl.DataFrame:
    """Rows after each partition's last batch, in Silver's columns."""
    columns = list(silver.spec.schema)
    # Only poison and deletes have no date, so files with one that are new as a whole need not be looked through.
    whole = files.filter(pl.col("event_date").is_not_null() & (pl.col("min._batch_id") > pl.col("_done")))
    rest = files.join(whole, on="path", how="anti")
    done = rest.select(*specs.KEYS, "_done").unique()
    others = (
        bronze.rows(rest)
        .filter(pl.col("_kind") != specs.POISON)
        .join(done.lazy(), on=specs.KEYS, nulls_equal=True)
        .filter(pl.col("_batch_id") > pl.col("_done"))
        .with_columns((pl.col("_kind") == specs.TOMBSTONE).alias("_deleted"))
        .select(columns)
    )
    events = bronze.rows(whole).with_columns(pl.lit(False).alias("_deleted")).select(columns)
    return pl.concat([events, others]).collect(engine="in-memory")


def _quarantine(
    table: Table, bad: pl.DataFrame, through: Mapping[Key, int], *, bronze: Table, files: pl.DataFrame
) -> None:
    """Commit quarantined rows first: should Silver's commit fail, the next run finds them here and adds none twice."""
    done = progress(table)
    seen = pl.Series([done.get(Key(*row), -1) for row in bad.select(specs.KEYS).iter_rows()], dtype=pl.Int64)
    fresh = bad.filter(bad["_batch_id"] > seen)
    if fresh.is_empty():
        return
    rows = fresh.join(_messages(bronze, files, fresh), on=_PLACE).with_columns(
        pl.lit(dt.datetime.now(dt.UTC), TIMESTAMP).alias("_quarantined_at")
    )
    moved = {cursor_name("bronze", key): batch for key, batch in through.items() if batch > done.get(key, -1)}
    table.commit(rows, cursors=moved, metadata={"rows": len(rows)})


def _messages(bronze: Table, files: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The messages of a few rows; they are most of Bronze's bytes, so no other file is read for them."""
    batches = rows.select(*specs.KEYS, "_batch_id").unique()
    holding = files.join(batches, on=specs.KEYS, nulls_equal=True).filter(
        pl.col("_batch_id").is_between("min._batch_id", "max._batch_id")
    )
    wanted = rows.select(place()).to_series()
    # A filter that the reader of Parquet understands, so that it unpacks only what passes.
    messages = bronze.rows(files.join(holding, on="path", how="semi")).filter(place().is_in(wanted.implode()))
    return messages.select(*_PLACE, *specs.MESSAGE).collect(engine="in-memory")


def _publish(silver: Table, merged: Merge, through: Mapping[Key, int]) -> None:
    # This commit is refused unless it becomes exactly the next version, so it may name itself.
    version = silver.version + 1
    cursors = {cursor_name("bronze", key): batch for key, batch in through.items()}
    cursors |= {cursor_name("changed", key): version for key in merged.touched}
    silver.commit(
        written(merged, silver), remove=merged.rewritten, cursors=cursors, metadata={"rows": len(merged.added)}
    )


def _counts(rows: pl.DataFrame) -> dict[Key, int]:
    return {Key(date, region): count for date, region, count in rows.group_by(specs.KEYS).len().iter_rows()}
