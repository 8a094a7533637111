"""Table partitions and Dagster's partition keys, one for the other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from dagster_project.contract.model import Dataset, Mart
from dagster_project.lake.keys import Key, Rectangle

# Dagster offers a day once it is over; events arrive today, and with clocks ahead tomorrow.
_DAYS_AHEAD = 2


def dataset_partitions(dataset: Dataset) -> dg.MultiPartitionsDefinition:
    """Date × region, from the contract's start date to tomorrow."""
    return dg.MultiPartitionsDefinition(
        {
            "date": dg.DailyPartitionsDefinition(start_date=dataset.start_date.isoformat(), end_offset=_DAYS_AHEAD),
            "region": dg.StaticPartitionsDefinition(list(dataset.regions)),
        }
    )


def mart_partitions(mart: Mart, dataset: Dataset) -> dg.PartitionsDefinition[str]:
    """A mart's partitions: its input's, or the dates alone."""
    if len(mart.partitioned_by) > 1:
        return dataset_partitions(dataset)
    return dg.DailyPartitionsDefinition(start_date=dataset.start_date.isoformat(), end_offset=_DAYS_AHEAD)


def partition_name(key: Key) -> str:
    """Dagster's name of a table partition: `2026-11-05|eu`, or the date alone."""
    assert key.date is not None
    if not key.region:
        return key.date.isoformat()
    return dg.MultiPartitionKey({"date": key.date.isoformat(), "region": key.region})


def table_key(name: str) -> Key:
    """The table partition of a Dagster partition name."""
    date, _, region = name.partition("|")
    return Key(dt.date.fromisoformat(date), region or None)


def range_tags(rectangle: Rectangle) -> Mapping[str, str]:
    """Tags that make Dagster run one rectangle; regions keep their declared order, for a reversed range runs nothing."""
    keys = list(rectangle.keys())
    return {
        "dagster/asset_partition_range_start": partition_name(keys[0]),
        "dagster/asset_partition_range_end": partition_name(keys[-1]),
    }
