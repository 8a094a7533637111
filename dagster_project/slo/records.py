"""Counts over windows, from the rows of `ops.measurements`.

Of a file that lies whole within each window its sums are enough, and they are kept: files never change. Rows are read of those
few that a window begins in.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dagster_project.lake.table import Table

SERIES = ("dataset", "region", "objective")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was measured up to a moment.

    Attributes:
        series: one row for each dataset, region and objective: `value`, `at` and `first`, the newest value, when it was
            measured, and when the first one was; and `good` and `bad` of each window, named by its length.
        ticks: the moments at which anything was measured, in ascending order.
    """

    series: pl.DataFrame
    ticks: Sequence[dt.datetime]


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Sums of one file, and the moments that it is of."""

    sums: pl.DataFrame
    ticks: frozenset[dt.datetime]


# By table and file.
_PARTS: dict[str, dict[str, _Part]] = {}


def tally(table: Table, *, now: dt.datetime, windows: Sequence[dt.timedelta]) -> Tally:
    """Add up a table of measurements over windows that end now; a window has its end in it, and not its beginning."""
    files = table.files().filter(pl.col("min.at") <= now)
    parts = _parts(table, files)
    edges = pl.any_horizontal(
        pl.col("max.at") > now,
        *(pl.lit(now - window).is_between(pl.col("min.at"), pl.col("max.at"), closed="left") for window in windows),
    )
    split = files.filter(edges)
    whole = [parts[path].sums for path in files.filter(~edges)["path"]]
    rows = table.rows(split).filter(pl.col("at") <= now)
    apart = rows.select(*SERIES, "at", "value", pl.col("at").alias("first"), "good", "bad").collect(engine="in-memory")
    found = pl.concat([apart, *whole])
    counts = [
        pl.col(name).filter(pl.col("at") > now - window).sum().alias(counted(name, window))
        for window in windows
        for name in ("good", "bad")
    ]
    series = found.group_by(SERIES).agg(pl.col("value").sort_by("at").last(), pl.max("at"), pl.min("first"), *counts)
    ticks = {tick for path in files["path"] for tick in parts[path].ticks if tick <= now}
    return Tally(series=series, ticks=sorted(ticks))


def counted(name: str, window: dt.timedelta) -> str:
    """Name of the column with a window's count."""
    return f"{name}_{window.total_seconds():.0f}"


def _parts(table: Table, files: pl.DataFrame) -> Mapping[str, _Part]:
    known = _PARTS.get(table.uri, {})
    fresh = files.filter(~pl.col("path").is_in(list(known)))
    rows = table.rows(fresh, with_path=True).collect(engine="in-memory")
    read = {str(path): own for (path,), own in rows.partition_by("_path", as_dict=True).items()}
    made = {path: _Part(sums=_summed(own), ticks=frozenset(own["at"])) for path, own in read.items()}
    # Replaced and not changed, as others may be reading it; without what the table has no more.
    _PARTS[table.uri] = parts = {path: part for path, part in {**known, **made}.items() if path in files["path"]}
    return parts


def _summed(rows: pl.DataFrame) -> pl.DataFrame:
    """Sums of rows by series, which stand for them as one row at the time of the newest."""
    return rows.group_by(SERIES).agg(
        pl.max("at"),
        pl.col("value").sort_by("at").last(),
        pl.min("at").alias("first"),
        pl.sum("good"),
        pl.sum("bad"),
    )
