"""What remains to be done, derived from committed state alone: any tick may be lost, doubled or late."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import polars as pl

from dagster_project.contract.model import Dataset, Mart
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


def changed(silver: Table, mart: Mart) -> dict[Key, int]:
    """By table partition of the mart, the newest Silver version that changed something in it."""
    newest: dict[Key, int] = {}
    for key, version in cursor_keys(silver.cursors(), "changed").items():
        if key.date is not None:
            own = gold_key(mart, key)
            newest[own] = max(version, newest.get(own, -1))
    return newest


def gold_key(mart: Mart, key: Key) -> Key:
    """The mart's table partition that a Silver partition goes into."""
    return key if len(mart.partitioned_by) > 1 else Key(key.date, None)


def pending_gold(mart: Mart, tables: Mapping[str, Table | None]) -> list[Key]:
    """Table partitions of a mart that are older than the Silver rows they are computed from."""
    gold = tables[f"gold/{mart.name}"]
    pending: set[Key] = set()
    for name in mart.datasets:
        silver = tables[f"silver/{name}"]  # of the version that serves
        if silver is None:
            continue
        cursors = {} if gold is None else gold.cursors()
        computed = cursor_keys(cursors, f"silver/{silver.spec.name}")
        pending.update(key for key, version in changed(silver, mart).items() if computed.get(key, -1) < version)
        # What was computed from another major version, which does not serve any more, is computed anew.
        pending.update(key for keys in computed_elsewhere(cursors, name, silver).values() for key in keys)
    return sorted(pending, key=str)


def computed_elsewhere(cursors: Mapping[str, int], name: str, silver: Table) -> dict[str, set[Key]]:
    """By cursor prefix, a mart's table partitions that were computed from other major versions of a dataset."""
    own = re.compile(rf"silver/{name}(_v\d+)?")
    prefixes = {"/".join(cursor.split("/")[:2]) for cursor in cursors if cursor.startswith("silver/")}
    return {
        prefix: {key for key, version in cursor_keys(cursors, prefix).items() if version >= 0}
        for prefix in prefixes - {f"silver/{silver.spec.name}"}
        if own.fullmatch(prefix)
    }


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
