"""What the broker itself has: the offsets of all committed messages below a cursor."""

from __future__ import annotations

import polars as pl

from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits, reading
from dagster_project.topics.broker import Topic

_LIMITS = Limits(rows=200_000)  # half a batch's memory again while it is being hashed


def broker_log(topic: Topic, cursor: Cursor, *, bootstrap_servers: str, payloads: bool) -> pl.DataFrame:
    """Read the topic again, up to the cursor.

    Args:
        payloads: add `content`, a hash of key and payload.

    Returns:
        `_kafka_partition, _kafka_offset` of every message that a reader of committed messages sees.
    """
    offsets = {partition: max(topic.first[partition], cursor.start[partition]) for partition in cursor.next}
    columns = [pl.col("_kafka_partition"), pl.col("_kafka_offset")]
    if payloads:
        columns.append(pl.struct("_key", "_payload").hash().alias("content"))
    parts: list[pl.DataFrame] = []
    bounds = pl.DataFrame(
        {"_kafka_partition": list(cursor.next), "next": list(cursor.next.values())},
        schema={"_kafka_partition": pl.Int32, "next": pl.Int64},
    )
    with reading(bootstrap_servers=bootstrap_servers, topic=topic.name, offsets=offsets, group="lakehouse-verify") as fetcher:
        while True:
            fetched = fetcher.fetch(_LIMITS)
            parts.append(fetched.messages.select(columns))
            if fetched.caught_up or all(fetched.next[partition] >= end for partition, end in cursor.next.items()):
                break
    return pl.concat(parts).join(bounds, on="_kafka_partition").filter(pl.col("_kafka_offset") < pl.col("next")).drop("next")
