"""Reading the outbox's own topics from their beginning to their end."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator

import polars as pl

from dagster_project.errors import KafkaError
from dagster_project.ingest.fetch import Limits, reading
from dagster_project.topics.broker import Broker

# The broker aborts what a killed publisher left open 20 s after it began, and looks for it every 10 s.
_SETTLING_SECONDS = 40.0


def messages(
    topic: str, *, bootstrap_servers: str, settled: bool, since: dt.datetime | None = None
) -> Iterator[pl.DataFrame]:
    """All committed messages of a topic, in batches as `Fetched.messages`.

    Args:
        settled: read what is written by now to its very end. Of a topic that several transactions write to, a reader
            sees only what comes before the first open one, even if what comes after was committed long ago.
        since: leave out what stands before all that was written from then on.

    Raises:
        KafkaError: no broker, no such topic, or a transaction stays open.
    """
    broker = Broker(bootstrap_servers)
    found = broker.topic(topic)
    end = broker.written(found) if settled else found.end
    # A deadline that only counts once nothing more comes: a long topic may take as long as it takes.
    waiting_since = time.monotonic()
    first = found.first if since is None else broker.since(found, since)
    with reading(bootstrap_servers=bootstrap_servers, topic=topic, offsets=first) as at:
        while True:
            fetched = at.fetch(Limits())
            if not fetched.messages.is_empty():
                waiting_since = time.monotonic()
                yield fetched.messages
            if all(fetched.next[partition] >= offset for partition, offset in end.items()):
                return
            if time.monotonic() - waiting_since > _SETTLING_SECONDS:
                raise KafkaError(
                    f"topic {topic!r} has had an open transaction for {_SETTLING_SECONDS:.0f} s",
                    expected="every transaction of a publisher to end in time",
                    remedy="see `kafka-transactions.sh find-hanging`; nothing was written, try again when it has ended",
                )
