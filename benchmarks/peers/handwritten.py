"""What one writes first: a loop over messages, dicts, and delta-rs' own append and merge.

No silly slowness either: batches of 50,000, tables held open, Silver partitioned by date and merged on the date, too, so
that delta-rs reads only the dates that a batch has; offsets are committed once the batch is written.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from deltalake import DeltaTable, write_deltalake

from benchmarks.peers.protocol import Drain, Task, serve
from benchmarks.peers.rows import BAD, BRONZE, GOLD, SILVER, Row, revenue_daily, take

_BATCH = 50_000
_JSON = json.JSONDecoder(parse_float=Decimal)  # made once: `json.loads` with options makes one for each call
_SAME = "old.event_date = new.event_date AND old.order_id = new.order_id"
_NEWER = "new.event_time > old.event_time OR (new.event_time = old.event_time AND new.kafka_offset > old.kafka_offset)"


class Tables:
    """The Delta tables, held open."""

    def __init__(self, out: Path) -> None:
        self._bronze = DeltaTable.create(out / "bronze", BRONZE)
        self._bad = DeltaTable.create(out / "bad", BAD)
        self.silver = DeltaTable.create(out / "silver", SILVER, partition_by="event_date")
        self._gold = DeltaTable.create(out / "gold", GOLD)

    def write(self, rows: list[Row], bad: list[Row]) -> None:
        """One batch: all of it into Bronze, what is broken aside, the newest row of each order into Silver."""
        bronze = pa.Table.from_pylist(rows, schema=BRONZE)
        write_deltalake(self._bronze, bronze, mode="append")
        if bad:
            write_deltalake(self._bad, pa.Table.from_pylist(bad, schema=BAD), mode="append")
        newest = bronze.take(pa.array(_newest(rows), pa.int64())).select(SILVER.names)
        merge = self.silver.merge(newest, _SAME, source_alias="new", target_alias="old", streamed_exec=False)
        merge.when_matched_update_all(_NEWER).when_not_matched_insert_all().execute()

    def publish(self) -> int:
        gold = revenue_daily(self.silver.to_pyarrow_dataset())
        write_deltalake(self._gold, gold, mode="overwrite")
        return len(gold)


def prepare(task: Task) -> Drain:
    consumer = Consumer(
        {
            "bootstrap.servers": task.servers,
            # A group of its own: another round of the measurement has committed its offsets, too.
            "group.id": f"handwritten-{os.getpid()}-{datetime.now(UTC).timestamp()}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    tables = Tables(task.out)

    def drain() -> dict[str, int]:
        consumer.assign([TopicPartition(task.topic, partition, OFFSET_BEGINNING) for partition in task.end])
        unread = set(task.end)
        counts = {"rows_bronze": 0, "rows_bad": 0}
        rows: list[Row] = []
        bad: list[Row] = []
        while unread:
            message = consumer.poll(1.0)
            if message is None:
                continue
            if (error := message.error()) is None:
                take(message, _loads, rows=rows, bad=bad)
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
            if (read := len(rows) + len(bad)) >= _BATCH or (read and not unread):
                tables.write(rows, bad)
                consumer.commit(asynchronous=False)
                counts = {"rows_bronze": counts["rows_bronze"] + len(rows), "rows_bad": counts["rows_bad"] + len(bad)}
                rows, bad = [], []
        return {**counts, "rows_gold": tables.publish()}

    return drain


def _loads(payload: bytes) -> Any:
    return _JSON.decode(payload.decode())


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
