"""Two major versions of a dataset, row by row: which keys only one has, and which values differ, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import DATE_COLUMN, VERSION_TIME, Dataset
from dagster_project.contract.versions import counterparts
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table

# Rows of both versions that are compared at a time: bounds memory.
_ROWS = 2_000_000
# What is never shown; the comparison itself reads it, as counts give nothing away.
_CONFIDENTIAL = ("confidential", "restricted")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What differs between two versions.

    Attributes:
        rows: of each version.
        only_old, only_new: keys that one of them has alone.
        differing: rows that both have, with a value that differs.
        columns: by column of the newer version, in how many rows it differs from what it is in the older one.
        added, removed: columns that one of them has alone; they are not compared.
        sample: some of the rows that differ: the key, where it is, and the values of both; confidential columns are hidden.
    """

    old: str
    new: str
    rows: tuple[int, int]
    only_old: int
    only_new: int
    differing: int
    columns: dict[str, int]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    sample: list[dict[str, Any]]

    @property
    def same(self) -> bool:
        return not (self.only_old or self.only_new or self.differing)


def compare_rows(
    older: Dataset,
    newer: Dataset,
    *,
    storage: Storage,
    sample: int,
    report: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Compare live rows of Silver of two versions on their identity, one portion of dates after another.

    Args:
        sample: differing rows that are shown.
        report: told each portion.
    """
    there = counterparts(newer, older)
    tables = [Table.find(specs.silver(version), storage=storage) for version in (older, newer)]
    rows, only, differing = [0, 0], [0, 0], 0
    columns = dict.fromkeys((name for name in there if name not in _key(newer)), 0)
    shown: list[dict[str, Any]] = []
    for dates in _portions(newer, tables):
        report("all dates" if dates is None else f"{dates[DATE_COLUMN].min()} to {dates[DATE_COLUMN].max()}")
        frames = [_rows(version, table, dates) for version, table in zip((older, newer), tables, strict=True)]
        both = _joined(older, newer, *frames, there=there)
        marks = {name: _unequal(name, both.schema) for name in columns}
        both = both.with_columns(
            pl.any_horizontal(*(mark & pl.col("_old") & pl.col("_new") for mark in marks.values())).alias("_differs")
            if marks
            else pl.lit(value=False).alias("_differs")
        )
        rows = [count + len(frame) for count, frame in zip(rows, frames, strict=True)]
        only = [only[0] + both.filter(~pl.col("_new")).height, only[1] + both.filter(~pl.col("_old")).height]
        changed = both.filter("_differs")
        differing += changed.height
        counts = changed.select(mark.sum().alias(name) for name, mark in marks.items())
        columns = {name: count + (counts[name][0] or 0) for name, count in columns.items()}
        found = both.filter(pl.col("_differs") | ~pl.col("_old") | ~pl.col("_new")).sort(_key(newer))
        shown += [_shown(older, newer, row, marks, there) for row in found.head(sample - len(shown)).iter_slices(1)]
    return Comparison(
        old=older.version,
        new=newer.version,
        rows=(rows[0], rows[1]),
        only_old=only[0],
        only_new=only[1],
        differing=differing,
        columns={name: count for name, count in columns.items() if count},
        added=tuple(column.name for column in newer.published if column.name not in there),
        removed=tuple(column.name for column in older.published if column.name not in there.values()),
        sample=shown,
    )


def _portions(dataset: Dataset, tables: list[Table | None]) -> list[pl.DataFrame | None]:
    """Dates, as many as fit into memory; all at once where a key may move from one date to another."""
    if not dataset.stable_partitions:
        return [None]
    files = pl.concat(
        [table.files().select(DATE_COLUMN, "num_records") for table in tables if table is not None]
        or [pl.DataFrame(schema={DATE_COLUMN: pl.Date, "num_records": pl.Int64})]
    )
    sizes = files.drop_nulls().group_by(DATE_COLUMN).agg(pl.sum("num_records")).sort(DATE_COLUMN)
    numbered = sizes.with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    return list(numbered.partition_by("_portion", maintain_order=True))


def _rows(version: Dataset, table: Table | None, dates: pl.DataFrame | None) -> pl.DataFrame:
    if table is None:
        return pl.DataFrame(schema=polars_schema(version.published))
    files = table.files()
    if dates is not None:
        files = files.join(dates, on=DATE_COLUMN, how="semi")
    rows = table.rows(files).filter(~pl.col("_deleted")).select(polars_schema(version.published).keys())
    return rows.collect(engine="in-memory")


def _joined(
    older: Dataset, newer: Dataset, old: pl.DataFrame, new: pl.DataFrame, *, there: dict[str, str]
) -> pl.DataFrame:
    """Both versions' rows by identity, the older one's under the newer one's names with `_was` behind."""
    key = _key(newer)
    before = old.select(
        *key,
        *(pl.col(there[name]).alias(f"{name}_was") for name in there if name not in key),
        pl.lit(value=True).alias("_old"),
    )
    both = new.with_columns(pl.lit(value=True).alias("_new")).join(before, on=key, how="full", coalesce=True)
    assert _key(older) == key
    return both.with_columns(pl.col("_old", "_new").fill_null(value=False))


def _key(dataset: Dataset) -> list[str]:
    """The columns of the contract that are the identity of rows that are not deleted."""
    return list(dict.fromkeys(dataset.event_time if name == VERSION_TIME else name for name in dataset.identity))


def _unequal(name: str, schema: pl.Schema) -> pl.Expr:
    """Whether a value is another one; of another type, whether the older one's is another one in the newer type."""
    new, old = pl.col(name), pl.col(f"{name}_was")
    if schema[name] == schema[f"{name}_was"]:
        return new.ne_missing(old)
    return new.ne_missing(old.cast(schema[name], strict=False))


def _shown(
    older: Dataset, newer: Dataset, row: pl.DataFrame, marks: Mapping[str, pl.Expr], there: Mapping[str, str]
) -> dict[str, Any]:
    values = row.to_dicts()[0]
    differing = [name for name, mark in marks.items() if row.select(mark).item()]
    where = "both" if values["_old"] and values["_new"] else "old" if values["_old"] else "new"

    def told(name: str, value: object) -> object:
        classes = {newer.column(name).classification, older.column(there[name]).classification if name in there else ""}
        return "(hidden)" if classes & set(_CONFIDENTIAL) else value

    changes = {
        name: {"old": told(name, values[f"{name}_was"]), "new": told(name, values[name])}
        for name in differing
        if where == "both"
    }
    return {"key": {name: told(name, values[name]) for name in _key(newer)}, "in": where, "values": changes}
