"""What people hand-write first: a loop over kafka-python's messages, a dict for each, batches of 10,000, delta-rs' append and merge.

Nothing is slow on purpose, and nothing is tuned: both libraries as their introductions show them. Rows have the types of the
contract and break its rules aside, the newest version of an order wins, offsets are committed once the batch is written.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from kafka import KafkaConsumer
from kafka.structs import TopicPartition

from benchmarks.peers.protocol import Drain, Task, serve
from benchmarks.peers.rows import BAD, BRONZE, GOLD, SILVER, Row, revenue_daily, take

_BATCH = 10_000
# Without a message for this long the topic is at its end.
_SILENCE_MS = 1_000
_SAME = "old.order_id = new.order_id"
_NEWER = "new.event_time > old.event_time OR (new.event_time = old.event_time AND new.kafka_offset > old.kafka_offset)"


def write(out: Path, rows: list[Row], bad: list[Row]) -> None:
    """One batch: all of it into Bronze, what is broken aside, the newest row of each order into Silver."""
    bronze = pa.Table.from_pylist(rows, schema=BRONZE)
    write_deltalake(out / "bronze", bronze, mode="append")
    if bad:
        write_deltalake(out / "bad", pa.Table.from_pylist(bad, schema=BAD), mode="append")
    newest = bronze.take(pa.array(_newest(rows), pa.int64())).select(SILVER.names)
    if not DeltaTable.is_deltatable(str(out / "silver")):
        write_deltalake(out / "silver", newest, partition_by="event_date")
        return
    merge = DeltaTable(out / "silver").merge(newest, _SAME, source_alias="new", target_alias="old")
    merge.when_matched_update_all(_NEWER).when_not_matched_insert_all().execute()


def publish(out: Path) -> int:
    """The mart, computed anew."""
    gold = revenue_daily(DeltaTable(out / "silver").to_pyarrow_dataset())
    write_deltalake(out / "gold", gold.cast(GOLD), mode="overwrite")
    return len(gold)


def prepare(task: Task) -> Drain:
    consumer = KafkaConsumer(
        bootstrap_servers=task.servers,
        # A group of its own: another round of the measurement has committed its offsets, too.
        group_id=f"handwritten-{os.getpid()}-{datetime.now(UTC).timestamp()}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        consumer_timeout_ms=_SILENCE_MS,
    )

    def drain() -> dict[str, int]:
        partitions = [TopicPartition(task.topic, partition) for partition in task.end]
        consumer.assign(partitions)
        counts = {"rows_bronze": 0, "rows_bad": 0}
        rows: list[Row] = []
        bad: list[Row] = []

        def flush() -> None:
            write(task.out, rows, bad)
            consumer.commit()
            counts["rows_bronze"] += len(rows)
            counts["rows_bad"] += len(bad)
            rows.clear()
            bad.clear()

        while any((consumer.position(partition) or 0) < task.end[partition.partition] for partition in partitions):
            for message in consumer:
                take(
                    message.value or b"",
                    _loads,
                    partition=message.partition,
                    offset=message.offset,
                    milliseconds=message.timestamp,
                    rows=rows,
                    bad=bad,
                )
                if len(rows) + len(bad) >= _BATCH:
                    flush()
        if rows or bad:
            flush()
        return {**counts, "rows_gold": publish(task.out)}

    return drain


def _loads(payload: bytes) -> Any:
    return json.loads(payload, parse_float=Decimal)


def _newest(rows: list[Row]) -> list[int]:
    """Where the newest version of each order is."""
    places: dict[str, int] = {}
    for place, row in enumerate(rows):
        known = places.get(row["order_id"])
        # Of versions with the same event time the last to arrive counts.
        if known is None or row["event_time"] >= rows[known]["event_time"]:
            places[row["order_id"]] = place
    return list(places.values())


if __name__ == "__main__":
    serve(prepare)
