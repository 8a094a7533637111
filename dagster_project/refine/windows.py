"""What marts of windows see of watermarks, in steps of their windows, so that they are computed anew at each step only."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import Catalog, Mart
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.watermarks import Watermark, watermarks

# By dataset and region.
Watermarks = Mapping[tuple[str, str], Watermark]
TABLE = "lake.watermarks"
# Before the names of cursors that say which watermark a table partition was computed with.
PREFIX = "watermark"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_DAY = dt.timedelta(days=1)


def seen(mart: Mart, tables: Mapping[str, Table | None], catalog: Catalog) -> Watermarks:
    """The watermarks of a mart's datasets, each moved back to a multiple of the window.

    Args:
        tables: as the mart reads them, by `MartInput.table`.
    """
    found: dict[tuple[str, str], Watermark] = {}
    if mart.window is None:
        return found
    for name in mart.datasets:
        silver = tables.get(f"silver/{name}")
        if silver is None:
            continue
        version = next(item for item in catalog.versions(name) if item.table == silver.spec.name)
        for region, mark in watermarks(version, silver).items():
            found[name, region] = replace(mark, at=mark.at - (mark.at - _EPOCH) % mart.window)
    return found


def fingerprint(mart: Mart, key: Key, marks: Watermarks) -> int:
    """A number, small enough for a cursor, that is another one when a table partition's windows may stand otherwise.

    A watermark before or after all windows of the day, and of the days after it that the mart reads, is as good as any other.
    """
    assert key.date is not None
    begin = dt.datetime.combine(key.date, dt.time(), dt.UTC)
    end = begin + _DAY * (1 + max(item.after_days for item in mart.inputs))
    own = {
        source: (min(max(mark.at, begin), end).isoformat(), mark.silent and mark.at < end)
        for source, mark in marks.items()
        if key.region in {None, source[1]}
    }
    return int.from_bytes(hashlib.sha256(repr(sorted(own.items())).encode()).digest()[:7])


def frame(marks: Watermarks) -> pl.DataFrame:
    """Watermarks as SQL sees them."""
    rows = [(*source, mark.at, mark.silent) for source, mark in sorted(marks.items(), key=lambda item: item[0])]
    schema = {"dataset": pl.String(), "region": pl.String(), "watermark": TIMESTAMP, "silent": pl.Boolean()}
    return pl.DataFrame(rows, schema=schema, orient="row")
