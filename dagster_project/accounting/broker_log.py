"""What the broker itself has: the contents of all committed messages below a cursor."""

from __future__ import annotations

import polars as pl

from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits, reading
from dagster_project.topics.broker import Broker
from dagster_project.topics.offsets import Offsets, place

_LIMITS = Limits(rows=200_000)  # half a batch's memory again while it is being hashed

# What a message says, short enough to compare all of them.
CONTENT = pl.struct("_key", "_payload").hash().alias("content")


def broker_log(topic: str, cursor: Cursor, *, bootstrap_servers: str) -> pl.DataFrame:
    """Read the topic again, up to the cursor.

    Returns:
        `_place` and `content`, a hash of key and payload, of every message that a reader of committed messages sees.
    """
    # As it begins now: retention has gone on since the tables were read.
    first = Broker(bootstrap_servers).topic(topic).first
    offsets = {partition: max(first[partition], cursor.start[partition]) for partition in cursor.next}
    window = Offsets.of_bounds(offsets, cursor.next)
    parts: list[pl.DataFrame] = []
    with reading(bootstrap_servers=bootstrap_servers, topic=topic, offsets=offsets) as fetcher:
        while True:
            fetched = fetcher.fetch(_LIMITS)
            found = fetched.messages.select(place(), CONTENT)
            parts.append(found.filter(pl.Series(window.has(found["_place"].to_numpy()))))
            if fetched.caught_up or all(fetched.next[partition] >= end for partition, end in cursor.next.items()):
                return pl.concat(parts)
