"""What the broker itself has: the offsets of all committed messages below a cursor."""

from __future__ import annotations

import polars as pl

from dagster_project.accounting.places import PLACE, by_partition
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits, reading
from dagster_project.topics.broker import Topic

_LIMITS = Limits(rows=200_000)  # half a batch's memory again while it is being hashed

# What a message says, short enough to compare all of them.
CONTENT = pl.struct("_key", "_payload").hash().alias("content")


def broker_log(topic: Topic, cursor: Cursor, *, bootstrap_servers: str, payloads: bool) -> pl.DataFrame:
    """Read the topic again, up to the cursor.

    Args:
        payloads: add `content`, a hash of key and payload.

    Returns:
        `_kafka_partition, _kafka_offset` of every message that a reader of committed messages sees.
    """
    offsets = {partition: max(topic.first[partition], cursor.start[partition]) for partition in cursor.next}
    columns = [*PLACE, CONTENT] if payloads else PLACE
    parts: list[pl.DataFrame] = []
    with reading(
        bootstrap_servers=bootstrap_servers, topic=topic.name, offsets=offsets, group="lakehouse-verify"
    ) as fetcher:
        while True:
            fetched = fetcher.fetch(_LIMITS)
            parts.append(fetched.messages.select(columns))
            if fetched.caught_up or all(fetched.next[partition] >= end for partition, end in cursor.next.items()):
                break
    ends = by_partition(next=cursor.next)
    below = pl.col("_kafka_offset") < pl.col("next")
    return pl.concat(parts).join(ends, on="_kafka_partition").filter(below).drop("next")
