"""Compaction: many small files of a table partition become one; rows and cursors stay as they are.

Readers of a table see the same rows before and after, and a crash at any moment leaves either the one or the other. The
small files themselves stay where they are, for readers of older versions; taking them away is the vacuum's work, which
is another step. Compaction is the weaker of two writers: where another one commits first, it gives up and the next run
plans anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, replace

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.errors import StaleCursorError
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# What one commit rewrites, and so what is held in memory at a time: some hundred MB once Parquet is unpacked.
_BYTES = 32 * 1024 * 1024
_ROWS = 500_000
# A file of a quarter of that is not small: rewriting it again and again would cost more than a reader saves.
_LARGE = 4
# Fewer small files than this are not worth a commit.
_MANY = 4
# Of Bronze, the newest days are left alone: tomorrow, as clocks run ahead, today, and yesterday with its late rows. Each
# batch adds a file to them, so that what is compacted there is soon small files again. Files without a date (poison and
# deletes) grow for ever and are never complete; once large enough they are left alone like any other.
_OPEN_DAYS = 3


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What one commit did, or would do.

    Attributes:
        table: `layer/name`.
        partitions: table partitions with fewer files now.
        files, into: small files before, and files in their place.
        bytes: of the small files.
        version: that was committed; `None` if nothing was, because it was a rehearsal or another writer came first.
        outpaced: another writer committed first; nothing was changed.
    """

    table: str
    partitions: int
    files: int
    into: int
    rows: int
    bytes: int
    version: int | None = None
    outpaced: bool = False


def compact(spec: TableSpec, *, storage: Storage, rehearse: bool = False) -> Iterator[Compacted]:
    """Merge the small files of a table; yields after each commit, of which each holds a bounded number of rows.

    Args:
        rehearse: only tell what would be done.

    Raises:
        LakeError: the store cannot be read or written.
    """
    table = Table.find(spec, storage=storage)
    if table is None:
        return
    if rehearse:
        yield from (_describe(table, portion) for portion in portions(table))
        return
    # Planned anew after each commit: the version that is then read may hold other writers' commits, which may have
    # removed files of an older plan, and their rows would come back.
    while planned := portions(table):
        done = _describe(table, planned[0])
        rows = read_portion(table, planned[0])
        try:
            version = publish_portion(table, planned[0], rows)
        except StaleCursorError:
            yield replace(done, outpaced=True)
            return
        yield replace(done, version=version)


def portions(table: Table) -> list[pl.DataFrame]:
    """Files to be merged, as `Table.files` gives them: one frame a commit, in it one new file for each table partition."""
    if not (keys := list(table.spec.partition_by)):  # each commit writes such a table whole
        return []
    small = (pl.col("size_bytes") < _BYTES // _LARGE) & (pl.col("num_records") < _ROWS // _LARGE)
    # In the order of their first statistic, so that its bounds stay as narrow as they can.
    order = [*keys, *(f"min.{name}" for name in table.spec.statistics[:1]), "path"]
    files = table.files().filter(small).sort(order, nulls_last=True)
    if table.spec.layer == "bronze" and (newest := files[DATE_COLUMN].max()) is not None:
        assert isinstance(newest, dt.date)
        closed = pl.col(DATE_COLUMN).is_null() | (pl.col(DATE_COLUMN) <= newest - dt.timedelta(days=_OPEN_DAYS))
        files = files.filter(closed)
    files = files.filter(pl.len().over(keys) >= _MANY)
    number = pl.max_horizontal(pl.col("size_bytes").cum_sum() // _BYTES, pl.col("num_records").cum_sum() // _ROWS)
    files = files.with_columns(number.alias("_portion"))
    files = files.filter(pl.len().over(*keys, "_portion") > 1)
    return files.partition_by("_portion", maintain_order=True, include_key=False)


def read_portion(table: Table, portion: pl.DataFrame) -> pl.DataFrame:
    """The rows of a portion's files."""
    return table.rows(portion).collect(engine="in-memory")


def publish_portion(table: Table, portion: pl.DataFrame, rows: pl.DataFrame) -> int:
    """Put one file for each table partition in the place of a portion's files, in one commit; returns its version.

    Raises:
        StaleCursorError: another writer came first; nothing was changed.
    """
    return table.commit(rows, cursors={}, remove=portion, metadata={"compacted_files": len(portion)}, data_change=False)


def _describe(table: Table, portion: pl.DataFrame) -> Compacted:
    partitions = portion.n_unique(table.spec.partition_by)
    return Compacted(
        table=f"{table.spec.layer}/{table.spec.name}",
        partitions=partitions,
        files=len(portion),
        into=partitions,
        rows=int(portion["num_records"].sum()),
        bytes=int(portion["size_bytes"].sum()),
    )
