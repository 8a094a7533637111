"""What Silver must hold of the retail streams: pandas on the producer's own record, with nothing of the platform."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dagster_project.sources import oracle

LATENESS = pd.Timedelta(minutes=10)  # as the contracts allow
DECODED = ("valid", "duplicate", "gate")
PLACE = ["kafka_partition", "kafka_offset"]
TIMES = ("event_time", "ordered_at", "payment_at")
# By dataset: the merge key, and the time whose UTC date is the table partition.
KEYS: dict[str, tuple[list[str], str]] = {
    "customers": (["customer_id", "event_time"], "event_time"),
    "orders": (["order_id"], "ordered_at"),
    "payments": (["payment_id", "sequence"], "payment_at"),
    "page_views": (["view_id"], "event_time"),
}


def deliveries(*logs: Path) -> pd.DataFrame:
    """All that was sent to one topic, one row for each record: its columns, its fate, and its place."""
    return frame_of(list(oracle.read(*logs)))


def frame_of(records: list[oracle.Record]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = [
        {
            **(record.value or {}),
            "key": record.key,
            "fate": record.kind,
            "deleted": record.kind != "decode" and record.value is None,
            "event_time": record.event_time,
            "kafka_partition": record.partition,
            "kafka_offset": record.offset,
        }
        for record in records
    ]
    frame = pd.DataFrame(rows)
    for name in set(TIMES) & set(frame.columns):
        frame[name] = pd.to_datetime(frame[name], utc=True, format="ISO8601").dt.as_unit("us")
    for name in {"duration_ms", "sequence"} & set(frame.columns):
        frame[name] = frame[name].astype("Int64")  # what is broken may have none
    return frame.assign(late_us=late_us(frame))


def late_us(frame: pd.DataFrame) -> pd.Series:
    """By how many µs each row is behind the newest event before it in its Kafka partition and region, if too many.

    Of what was sent after it happened: a clock that runs ahead is not provided for.
    """
    rows = frame[frame["fate"].isin(DECODED) & ~frame["deleted"]].sort_values(PLACE)
    behind = rows.groupby(["kafka_partition", "region"])["event_time"].cummax() - rows["event_time"]
    late = behind[behind > LATENESS] // pd.Timedelta(microseconds=1)
    return late.astype("Int64").reindex(frame.index)


def silver(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows of a dataset, those of deletes among them, with the date of their table partition."""
    key, placed = KEYS[dataset]
    rows = frame[frame["fate"].isin(("valid", "delete", "duplicate"))]
    if dataset == "customers":
        rows = rows.assign(customer_id=rows["key"])
    # Upsert keeps the newest version, and of two deliveries of it the second; the others keep the first delivery.
    ordered = rows.sort_values(["event_time", *PLACE] if dataset == "orders" else PLACE)
    rows = ordered.drop_duplicates(key, keep="last" if dataset == "orders" else "first")
    dates = rows[placed].dt.date.where(~rows["deleted"])
    return rows.assign(event_date=dates).drop(columns=["fate", "key"]).sort_values(key).reset_index(drop=True)
