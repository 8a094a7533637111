"""Watermarks: up to which event time a region's rows are there, but for late ones. A function of committed cursors; no clock.

Bronze's commits carry the newest event time of each Kafka partition and region, and Silver's take them over once nothing of
the region is left to be read.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import REGION_COLUMN, Dataset
from dagster_project.ingest.lateness import cursors_of, newest_events
from dagster_project.ingest.unread import unread
from dagster_project.lake.table import Table

# Earlier than any event.
_NEVER = -(2**63)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """Of a region: up to when its events are there.

    Attributes:
        at: the earliest newest event of the Kafka partitions that are not idle, less the allowed lateness.
        silent: it is further behind the other regions than the contract waits; what spans regions goes on without it.
    """

    at: dt.datetime
    silent: bool


@dataclass(frozen=True, kw_only=True)
class Source:
    """One Kafka partition's events of one region.

    Attributes:
        idle: it is further behind the region's newest event than the contract waits, so nobody waits for it.
    """

    partition: int
    newest: dt.datetime
    idle: bool


def watermarks(dataset: Dataset, silver: Table) -> dict[str, Watermark]:
    """The watermark of each region of which Silver has had events, as this version of it stands."""
    at = {
        region: min(source.newest for source in own if not source.idle) - dataset.allowed_lateness
        for region, own in sources(dataset, silver.cursors()).items()
    }
    silent_before = max(at.values(), default=_EPOCH) - dataset.idle_after
    return {region: Watermark(at=moment, silent=moment < silent_before) for region, moment in at.items()}


def sources(dataset: Dataset, cursors: Mapping[str, int]) -> dict[str, list[Source]]:
    """By region, what its watermark follows from, in the order of Kafka partitions."""
    by_region: dict[str, dict[int, dt.datetime]] = {}
    for (partition, region), time in sorted(newest_events(cursors).items()):
        by_region.setdefault(region, {})[partition] = _EPOCH + dt.timedelta(microseconds=time)
    return {
        region: [
            Source(partition=partition, newest=time, idle=time < max(newest.values()) - dataset.idle_after)
            for partition, time in newest.items()
        ]
        for region, newest in sorted(by_region.items())
    }


def taken_over(bronze: Table, silver: Table, left: pl.DataFrame) -> dict[str, int]:
    """Cursors for Silver's commit: Bronze's, of the regions of which nothing is left to be read, where they have moved.

    Of a topic that several runs read none goes beyond what the slowest Kafka partition was read up to that holds more: what
    is not read yet is not silent.

    Args:
        left: files of Bronze that Silver will not have read, held back or not. A delete is of any region.
    """
    waiting = left[REGION_COLUMN].unique().to_list()
    known, newest = newest_events(silver.cursors()), newest_events(bronze.cursors())
    reached: dict[int, int] = {}
    for (partition, _), time in newest.items():
        reached[partition] = max(time, reached.get(partition, time))
    # Of what was never read nobody knows anything, so nothing is taken over before it was.
    most = min((reached.get(partition, _NEVER) for partition in unread(bronze.cursors())), default=None)
    bounded = newest if most is None else {place: min(time, most) for place, time in newest.items() if most > _NEVER}
    return cursors_of(
        {
            (partition, region): time
            for (partition, region), time in bounded.items()
            if region not in waiting and None not in waiting and time > known.get((partition, region), time - 1)
        }
    )
