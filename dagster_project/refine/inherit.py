"""What Bronze has let go of after its retention cannot be decoded again: a newer version takes it from the older one's tables."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Dataset
from dagster_project.contract.versions import counterparts
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.quality.gate import judge
from dagster_project.refine.cursors import cursor_keys, cursor_name
from dagster_project.refine.plan import expired_unseen, progress
from dagster_project.refine.quarantine import PLACE, known
from dagster_project.refine.recover import recover

# Rows of one commit: bounds memory at some hundred MB.
_ROWS = 500_000


def inheritance(older: Dataset, newer: Dataset, *, storage: Storage) -> list[Key]:
    """Table partitions of Bronze with expired rows that the newer version has not taken over yet."""
    bronze = Table.find(specs.bronze(older), storage=storage)
    return [] if bronze is None else expired_unseen(bronze, progress(Table.find(specs.silver(newer), storage=storage)))


def inherit(older: Dataset, newer: Dataset, *, storage: Storage) -> int:
    """Take over what has expired, under the newer version's columns; returns how many rows.

    Raises:
        LakeError: rows do not fit the newer version, and their messages are gone; nothing of them was taken over.
        StaleCursorError: another run writes to the newer version.
    """
    keys = inheritance(older, newer, storage=storage)
    bronze, source = (Table.find(spec(older), storage=storage) for spec in (specs.bronze, specs.silver))
    if not keys or bronze is None or source is None:
        return 0
    if older.protected or newer.protected:
        raise LakeError(
            f"rows of {older.name} have expired in Bronze, and Silver has their sensitive columns only as pseudonyms",
            expected="a version that is built from messages, which alone say what is to be protected",
            remedy="release a version that neither protects columns nor follows one that does, or keep the one that serves",
        )
    target = Table.open(specs.silver(newer), storage=storage)
    through = cursor_keys(bronze.cursors(), EXPIRED)
    _quarantined(older, newer, {key: through[key] for key in keys}, storage=storage)
    taken = 0
    for files in _portions(source, keys):
        own = [key for key in keys_of(files) if key in set(keys)]
        rows = _until(source.rows(files), {key: through[key] for key in own}).collect(engine="in-memory")
        rows = _fitting(older, newer, rows, target)
        target.commit(
            rows,
            cursors={cursor_name("bronze", key): through[key] for key in own},
            marks=[cursor_name("changed", key) for key in own],
            metadata={"inherited": len(rows)},
        )
        taken += len(rows)
    # Table partitions of which nothing is left in Silver.
    rest = {key: through[key] for key in inheritance(older, newer, storage=storage)}
    if rest:
        cursors = {cursor_name("bronze", key): batch for key, batch in rest.items()}
        target.commit(pl.DataFrame(schema=dict(target.spec.schema)), cursors=cursors)
    return taken


def _fitting(older: Dataset, newer: Dataset, rows: pl.DataFrame, target: Table) -> pl.DataFrame:
    there = counterparts(newer, older)
    wanted = polars_schema(newer.columns)
    cast = {
        name: (pl.col(there[name]).cast(dtype, strict=False) if name in there else pl.lit(None, dtype)).alias(name)
        for name, dtype in wanted.items()
    }
    platform = [name for name in target.spec.schema if name not in cast]
    fresh = rows.select(*cast.values(), *platform)
    unfit = [name for name in there if fresh[name].null_count() > rows[there[name]].null_count()]
    verdict = judge(newer, recover(newer, fresh))
    if unfit or not verdict.bad.is_empty():
        reasons = unfit or verdict.bad["_reasons"].explode().unique().sort().to_list()
        raise LakeError(
            f"rows of {older.name} that have expired in Bronze do not fit version {newer.version}: {', '.join(reasons)}",
            expected=f"a contract that all {len(rows):,} rows of these table partitions keep to, as their messages are gone",
            remedy="make new columns optional, or the rule one of severity warning, and run `lakehouse release start` again",
        )
    return verdict.good


def _quarantined(older: Dataset, newer: Dataset, through: dict[Key, int], *, storage: Storage) -> None:
    source = Table.find(specs.quarantine(older), storage=storage)
    if source is None:
        return
    target = Table.open(specs.quarantine(newer), storage=storage)
    files = source.files().join(frame_of(through), on=specs.KEYS, how="semi")
    rows = _until(source.rows(files), through).filter(pl.col(specs.RELEASE).is_null()).collect(engine="in-memory")
    rows = rows.join(known(target, list(through)), on=PLACE, how="anti")
    if not rows.is_empty():
        moved = {cursor_name("bronze", key): batch for key, batch in through.items()}
        target.commit(rows.select(target.spec.schema.keys()), cursors=moved, metadata={"inherited": len(rows)})


def _until(rows: pl.LazyFrame, through: dict[Key, int]) -> pl.LazyFrame:
    """Rows up to the last batch that has expired of their table partition."""
    last = frame_of(through).with_columns(pl.Series("_through", list(through.values()), pl.Int64))
    joined = rows.join(last.lazy(), on=specs.KEYS, maintain_order="left")
    return joined.filter(pl.col("_batch_id") <= pl.col("_through")).drop("_through")


def _portions(source: Table, keys: list[Key]) -> Iterator[pl.DataFrame]:
    """Files of whole table partitions, as many as fit into memory."""
    files = source.files().join(frame_of(keys), on=specs.KEYS, how="semi").sort(*specs.KEYS, "path")
    sizes = files.group_by(specs.KEYS, maintain_order=True).agg(pl.sum("num_records"))
    number = sizes.select(*specs.KEYS, (pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    for part in files.join(number, on=specs.KEYS, maintain_order="left").partition_by("_portion", maintain_order=True):
        yield part.drop("_portion")
