"""What remains to be done, derived from committed state alone: any tick may be lost, doubled or late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.refine.cursors import cursor_keys
from dagster_project.refine.holds import is_in, resting


def progress(table: Table | None) -> dict[Key, int]:
    """By table partition of Silver or quarantine, the last Bronze batch that went into it."""
    return {} if table is None else cursor_keys(table.cursors(), "bronze")


def pending_files(dataset: Dataset, bronze: Table, done: Mapping[Key, int]) -> pl.DataFrame:
    """Bronze files with rows that Silver has not seen, as `Table.files` gives them, with `_done`, the batch to read on from.

    Poison has nothing to refine and is left out, unless another major version may have called it so; deletes are not,
    though they have no table partition.
    """
    files = bronze.files()
    if not dataset.reads_payloads:
        files = files.filter(pl.col("event_date").is_not_null() | (pl.col("max._kind") == specs.TOMBSTONE))
    dones = [done.get(Key(date, region), -1) for date, region in files.select(specs.KEYS).iter_rows()]
    return files.with_columns(pl.Series("_done", dones, pl.Int64)).filter(pl.col("max._batch_id") > pl.col("_done"))


def expired_unseen(bronze: Table, done: Mapping[Key, int]) -> list[Key]:
    """Table partitions with rows that the retention has deleted and that are not below `done`: Silver was made anew."""
    expired = cursor_keys(bronze.cursors(), EXPIRED)
    return sorted((key for key, last in expired.items() if done.get(key, -1) < last), key=str)


def pending_silver(dataset: Dataset, tables: Mapping[str, Table | None], *, with_held: bool = False) -> list[Key]:
    """Table partitions with Bronze rows that Silver has not seen; `Key(None, None)` stands for deletes.

    Args:
        with_held: also those that the gate holds back, and that are not to be judged anew yet.
    """
    bronze, silver = tables[f"bronze/{dataset.name}"], tables[f"silver/{dataset.table}"]
    if bronze is None:
        return []
    done = progress(silver)
    files = pending_files(dataset, bronze, done)
    rest = set[Key]() if silver is None or with_held else resting(dataset, silver.cursors(), files)
    keys = (Key(*row) for row in files.select(specs.KEYS).unique(maintain_order=True).iter_rows())
    # What has expired unseen is pending, too: its run fails and says so, instead of a smaller table that looks whole.
    return sorted({*(key for key in keys if not is_in(key, rest)), *expired_unseen(bronze, done)}, key=str)


def still_planned(table: Table, planned: Mapping[Key, int], found: Mapping[Key, int], keys: Iterable[Key]) -> None:
    """Refuse to go on with table partitions that another run has worked on since this one made its plan.

    Raises:
        StaleCursorError: their cursors have moved.
    """
    moved = [key for key in keys if planned.get(key) != found.get(key)]
    if moved:
        raise StaleCursorError(
            f"{table.spec.layer}/{table.spec.name}: another run has worked on {len(moved)} table partitions of this one",
            expected="to be the only run on them; nothing more was written",
            remedy="nothing: the next run starts from the committed state",
        )


def within(keys: Iterable[Key], chosen: Iterable[Key] | None) -> list[Key]:
    """The keys that were chosen; all where no choice was made. Deletes belong to every choice, as they may touch any key."""
    wanted = None if chosen is None else set(chosen)
    return [key for key in keys if wanted is None or key in wanted or key == Key(None, None)]
