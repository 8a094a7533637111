"""Table partitions and Dagster's partition keys, one for the other."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import dagster as dg

from dagster_project.contract.model import Dataset, Mart, MartInput
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


def mart_partitions(mart: Mart) -> dg.PartitionsDefinition[str] | None:
    """A mart's partitions: date × region, the dates alone, or none."""
    if mart.start_date is None:
        return None
    dates = dg.DailyPartitionsDefinition(
        start_date=mart.start_date.isoformat(), end_offset=_DAYS_AHEAD + mart.days_ahead
    )
    if not mart.regions:
        return dates
    return dg.MultiPartitionsDefinition({"date": dates, "region": dg.StaticPartitionsDefinition(list(mart.regions))})


def mart_mapping(mart: Mart, item: MartInput, *, by_region: bool, by_date: bool) -> dg.PartitionMapping:
    """Which partitions of an input a mart's partitions read.

    Args:
        by_region, by_date: how the input is partitioned.
    """
    if not mart.partitioned_by or not by_date:
        return dg.AllPartitionMapping()
    days = dg.TimeWindowPartitionMapping(
        start_offset=-item.before_days, end_offset=item.after_days, allow_nonexistent_upstream_partitions=True
    )
    if mart.regions and by_region:
        region = dg.DimensionPartitionMapping("region", dg.IdentityPartitionMapping())
        return dg.MultiPartitionMapping({"date": dg.DimensionPartitionMapping("date", days), "region": region})
    if not mart.regions and not by_region:
        return days
    # Between one dimension and two Dagster knows no days beside; of these it is told too much rather than too little.
    beside = item.before_days or item.after_days
    return dg.AllPartitionMapping() if beside else dg.MultiToSingleDimensionPartitionMapping("date")


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
