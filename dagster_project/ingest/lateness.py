"""How late events are: behind the newest event of their Kafka partition and region that stands before them in the topic.

The newest event times are cursors of Bronze, committed with the rows that moved them, so lateness is a function of the
topic's contents alone: neither other batches nor a crash between two of them change it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import polars as pl

from dagster_project.contract.model import REGION_COLUMN, Dataset
from dagster_project.lake import specs

# By Kafka partition and region, the newest event time in µs since the epoch.
Newest = Mapping[tuple[int, str], int]

_PREFIX = "watermark"


def newest_events(cursors: Mapping[str, int]) -> dict[tuple[int, str], int]:
    """What a table's cursors say of the newest events, by Kafka partition and region, in µs."""
    found: dict[tuple[int, str], int] = {}
    for name, value in cursors.items():
        if name.startswith(f"{_PREFIX}/"):
            _, partition, region = name.split("/")
            found[int(partition), region] = value
    return found


def cursors_of(newest: Newest) -> dict[str, int]:
    """As named cursors of a Delta commit."""
    return {f"{_PREFIX}/{partition}/{region}": time for (partition, region), time in newest.items()}


def measure(dataset: Dataset, rows: pl.DataFrame, before: Newest) -> tuple[pl.Series, dict[tuple[int, str], int]]:
    """How late each row is, and the newest events after them.

    An event time counts as newest at most up to the time at which its record was sent, so a clock that runs ahead makes
    nobody else late. What is no event is not late, and moves nothing.

    Args:
        rows: of Bronze, in the order of the topic within each Kafka partition.
        before: the newest events before these rows.

    Returns:
        `_late_us`, null of what is within the allowed lateness; and those of the newest events that have moved.
    """
    regions = dataset.regions
    region = pl.col(REGION_COLUMN).cast(pl.Enum(regions), strict=False).to_physical()
    time = pl.col(dataset.event_time).to_physical()
    events = rows.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        (pl.col("_kafka_partition").cast(pl.Int64) * len(regions) + region).alias("group"),
        time.alias("time"),
        pl.min_horizontal(time, pl.col("_kafka_timestamp").to_physical()).alias("newest"),
        (pl.col("_kind") == specs.EVENT).alias("event"),
    ).filter("event")
    row, group, times, newest = (events[name].to_numpy() for name in ("row", "group", "time", "newest"))
    # By Kafka partition and region, each in the order of the topic; numbers of 16 bits are sorted in no time.
    order = np.argsort(group.astype(np.min_scalar_type(group.max(initial=0))), kind="stable")
    row, group, times, newest = (values[order] for values in (row, group, times, newest))
    moved: dict[tuple[int, str], int] = {}
    for first, end in pairwise([0, *(np.flatnonzero(np.diff(group)) + 1), len(group)] if len(group) else []):
        partition, number = divmod(int(group[first]), len(regions))
        own, known = newest[first:end], before.get((partition, regions[number]))
        if known is not None:
            own[0] = max(own[0], known)
        np.maximum.accumulate(own, out=own)
        if own[-1] != known:
            moved[partition, regions[number]] = int(own[-1])
    late = np.zeros(len(rows), np.int64)
    late[row] = newest - times
    found = pl.Series(specs.LATE, late)
    return found.set(found <= dataset.allowed_lateness // dt.timedelta(microseconds=1), None), moved
