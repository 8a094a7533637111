"""dlt from Kafka to Delta tables: its verified source `kafka`, its filesystem destination, its upsert.

As that source does, the resource reads up to the ends that it found, yields a list of dicts for each call into the consumer and
keeps its offsets in dlt's state; one run extracts, normalizes and loads the whole backlog as one package. Columns have the types of
the contract; what is nested is JSON text in Bronze, as dlt would make tables of its own of it. dlt's upsert wants each key
once and knows no order of versions, so Silver is what Bronze's newest rows are. From its guide to optimization:

* the built-in JSON parser, orjson;
* rotated files, so that delta-rs reads several at once; finished packages deleted; no telemetry.
"""
# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false, reportUnknownParameterType=false
# dlt is in the peers' own virtual environment, not in the project's; pyarrow has no types.

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DATA_WRITER__FILE_MAX_ITEMS": "500000",
    "LOAD__DELETE_COMPLETED_JOBS": "true",
    "DESTINATION__ENABLE_DATASET_NAME_NORMALIZATION": "false",  # the tables' folder is named by who measures
}
import dlt
import duckdb
import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from deltalake import DeltaTable
from dlt.common import json

from benchmarks.peers.protocol import Drain, Task, serve
from benchmarks.peers.rows import SILVER, Row, revenue_daily, take

# Messages of one call into the consumer, as many as the verified source takes.
_CALL = 3_000
_ITEMS = '[{"sku": "VARCHAR", "quantity": "INTEGER", "unit_price": "DECIMAL(18, 2)"}]'
_NEWEST = f"""
    SELECT * REPLACE (from_json(items, '{_ITEMS}') AS items) FROM bronze
    QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY event_time DESC, kafka_offset DESC) = 1
"""


@dlt.resource(
    name="bronze",
    table_format="delta",
    write_disposition="append",
    columns={"amount": {"data_type": "decimal", "precision": 18, "scale": 2}, "note": {"data_type": "text"}},
)
def messages(consumer: Consumer, task: Task) -> Iterator[Any]:
    """The topic up to its ends: rows of Bronze, and what is broken for a table of its own."""
    offsets: dict[str, int] = dlt.current.resource_state().setdefault("offsets", {})
    consumer.assign([TopicPartition(task.topic, number, offsets.get(str(number), 0)) for number in task.end])
    unread = set(task.end)
    while unread:
        rows: list[Row] = []
        bad: list[Row] = []
        for message in consumer.consume(_CALL, timeout=1.0):
            if (error := message.error()) is None:
                offset = message.offset()
                assert offset is not None
                take(
                    message.value() or b"",
                    json.loadb,
                    partition=message.partition(),
                    offset=offset,
                    milliseconds=message.timestamp()[1],
                    rows=rows,
                    bad=bad,
                )
                offsets[str(message.partition())] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                unread.discard(message.partition())
            else:
                raise KafkaException(error)
        yield [row | {"items": json.dumps(row["items"])} for row in rows]
        if bad:
            yield dlt.mark.with_table_name(bad, "bad")


@dlt.resource(
    name="silver",
    table_format="delta",
    write_disposition={"disposition": "merge", "strategy": "upsert"},
    primary_key="order_id",
    columns={"event_date": {"partition": True}},
)
def newest(out: Path) -> Iterator[pa.Table]:
    """The newest version of each order in Bronze: event time, then offset."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("bronze", DeltaTable(out / "bronze").to_pyarrow_dataset())
        yield connection.sql(_NEWEST).to_arrow_table().select(SILVER.names).cast(SILVER)


@dlt.resource(name="gold", table_format="delta", write_disposition="replace")
def mart(out: Path) -> Iterator[pa.Table]:
    yield revenue_daily(DeltaTable(out / "silver").to_pyarrow_dataset())


def prepare(task: Task) -> Drain:
    consumer = Consumer(
        {
            "bootstrap.servers": task.servers,
            "group.id": "dlt",
            "enable.auto.commit": False,  # the offsets are in dlt's state
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    if task.out.exists():
        task.out.rmdir()  # dlt makes the folder of its tables, and fails where it is
    work = TemporaryDirectory(dir=task.out.parent)
    pipeline = dlt.pipeline(
        "orders",
        pipelines_dir=work.name,
        destination=dlt.destinations.filesystem(task.out.parent.as_uri()),
        dataset_name=task.out.name,
    )

    def drain() -> dict[str, int]:
        rows: dict[str, int] = {}
        for resource in (messages(consumer, task), newest(task.out), mart(task.out)):
            pipeline.run(resource).raise_on_failed_jobs()
            rows |= pipeline.last_trace.last_normalize_info.row_counts
        work.cleanup()
        return {f"rows_{name}": count for name, count in rows.items() if not name.startswith("_")}

    return drain


if __name__ == "__main__":
    serve(prepare)
