"""Publish a stream of events exactly once, however often and wherever it is interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from dagster_project.services.lock import exclusive
from dagster_project.sources.delivery_log import DeliveryLog, oracle_path
from dagster_project.sources.encoding import Encode, plain
from dagster_project.sources.events import Event
from dagster_project.sources.salting import Keying, by_merge_key
from dagster_project.sources.transactions import TransactionalProducer
from dagster_project.topics.patience import topic_id

# A transaction costs some 20 ms however small it is; with this many events that is little of the whole, and what is
# sent again after an interruption takes about a second.
TRANSACTION_EVENTS = 20_000
# At a given rate a transaction holds the events of this long, since readers see none of them before it ends.
TRANSACTION_SECONDS = 1.0
# One producer of a topic at a time; another one that is just ending gets this long.
LOCK_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one run did.

    Attributes:
        produced: events that this run sent.
        skipped: events of the stream that were in the topic before.
        seconds: how long it took.
        oracle: the delivery log.
    """

    topic: str
    produced: int
    skipped: int
    seconds: float
    oracle: Path


def publish(
    events: Iterable[Event],
    *,
    topic: str,
    bootstrap: str,
    progress_group: str,
    home: Path,
    rate: float | None = None,
    limit: int | None = None,
    encode: Encode = plain,
    keying: Keying = by_merge_key,
    report: Callable[[int], object] = lambda _: None,
) -> Published:
    """Send a stream's events, from the first that the topic does not have yet.

    How far the stream was sent is an offset of `progress_group`, committed in the transaction of the events: both are
    there, or neither is. The broker forgets it with the topic, or when nothing was sent for its
    `offsets.retention.minutes` (7 days by default). On return, read-committed consumers see all that was sent.

    Args:
        events: the whole stream, the same at every call with this group.
        home: LAKEHOUSE_HOME; the delivery log is kept there.
        rate: events per second; `None` is as fast as possible.
        limit: stop where the topic has this many events of the stream; none are made where it has them already.
        encode: makes the message of an event's text, which the delivery log keeps as it is.
        keying: makes the Kafka key of an event; the delivery log keeps its merge key.
        report: called at the beginning and after each transaction with how many events of the stream the topic has.

    Raises:
        KafkaError: no broker, no such topic, another producer took over, or the delivery log is not the topic's.
        ServiceError: another process of this LAKEHOUSE_HOME sends to the topic.
    """
    began = time.monotonic()
    identity = topic_id(topic, bootstrap=bootstrap)
    log = DeliveryLog(oracle_path(home, topic=topic, topic_id=identity, progress_group=progress_group))
    # Kafka shuts out the older of two producers, but only when it next asks; till then both would write the log.
    with exclusive(log.path.parent / "lock", patience=LOCK_SECONDS):
        producer = TransactionalProducer(
            topic=topic, bootstrap=bootstrap, progress_group=progress_group, encode=encode, keying=keying
        )
        skipped = producer.next_index
        log.rewind(skipped)
        report(skipped)
        if limit is None or limit > skipped:
            for batch in _batches(islice(events, skipped, limit), rate):
                producer.send(batch, log=log)
                report(producer.next_index)
        producer.settle()
    return Published(
        topic=topic,
        produced=producer.next_index - skipped,
        skipped=skipped,
        seconds=time.monotonic() - began,
        oracle=log.path,
    )


def _batches(events: Iterator[Event], rate: float | None) -> Iterator[list[Event]]:
    """The events of one transaction each; at a rate, each batch is drawn when its first event is due."""
    size = TRANSACTION_EVENTS
    if rate is not None:
        size = min(size, max(1, round(rate * TRANSACTION_SECONDS)))
    began = time.monotonic()
    for number in count():
        if rate is not None:
            time.sleep(max(0.0, began + number * size / rate - time.monotonic()))
        batch = list(islice(events, size))
        if not batch:
            return
        yield batch
