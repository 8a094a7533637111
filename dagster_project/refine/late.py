"""Late rows: which are beyond the horizon, and how many of each region are how late."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable

import polars as pl

from dagster_project.contract.model import REGION_COLUMN, Dataset
from dagster_project.lake.specs import LATE
from dagster_project.refine.quarantine import PLACE

# The reason for which quarantine has rows beyond the horizon, where the contract wants them there.
HORIZON = "event_time.horizon"
IN_TIME = "in time"
# What a row is late at most, and what people call it: the spans after which an hour, a shift, a day, a week is restated.
_BUCKETS = {
    "≤ 1 h": dt.timedelta(hours=1),
    "≤ 6 h": dt.timedelta(hours=6),
    "≤ 1 d": dt.timedelta(days=1),
    "≤ 7 d": dt.timedelta(days=7),
}
BUCKETS = (IN_TIME, *_BUCKETS, "more")
Histogram = dict[str, dict[str, int]]


def beyond(dataset: Dataset, rows: pl.DataFrame, *, released: pl.DataFrame) -> pl.DataFrame:
    """Rows that quarantine is to have for their lateness alone, with `_reasons`.

    Args:
        released: places of rows that a person has let go, late as they are.
    """
    reasons = pl.lit([HORIZON], pl.List(pl.String)).alias("_reasons")
    if dataset.quarantined_from is None:
        return rows.clear().with_columns(reasons)
    late = rows.filter(pl.col(LATE) > _us(dataset.quarantined_from))
    return late.join(released.select(PLACE), on=PLACE, how="anti", maintain_order="left").with_columns(reasons)


def only_late(bad: pl.DataFrame) -> pl.Series:
    """Of rows with `_reasons`, which break no rule: they say nothing of how well a producer does."""
    return bad["_reasons"].list.first() == HORIZON


def count_beyond(dataset: Dataset, rows: pl.DataFrame) -> int:
    """Rows beyond the horizon, wherever they go."""
    if dataset.lateness_horizon is None:
        return 0
    return rows.filter(pl.col(LATE) > _us(dataset.lateness_horizon)).height


def histogram(rows: pl.DataFrame) -> Histogram:
    """By region, rows by how late they are; deletes and what has no region are in none."""
    over = pl.sum_horizontal((pl.col(LATE) > _us(most)).fill_null(value=False) for most in _BUCKETS.values())
    bucket = (over + pl.col(LATE).is_not_null()).alias("_bucket")
    counts = rows.filter(~pl.col("_deleted")).group_by(REGION_COLUMN, bucket).len()
    found: Histogram = {}
    for region, number, count in counts.drop_nulls().sort(REGION_COLUMN, "_bucket").iter_rows():
        found.setdefault(region, {})[BUCKETS[number]] = count
    return found


def together(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of several, by region, each bucket of which there are rows, the earliest first."""
    sums: dict[str, Counter[str]] = {}
    for histogram in histograms:
        for region, counts in histogram.items():
            sums.setdefault(region, Counter()).update(counts)
    return {region: {name: sums[region][name] for name in BUCKETS if sums[region][name]} for region in sorted(sums)}


def _us(span: dt.timedelta) -> int:
    return span // dt.timedelta(microseconds=1)
