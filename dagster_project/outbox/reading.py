"""Reading the outbox's own topics from their beginning to their end.

By a consumer of the client library, message by message: they are few beside what is ingested, and whoever asks for one
letter is not to wait for the compiled code that reads a topic of a contract.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from operator import methodcaller

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import KafkaError as BrokerError
from confluent_kafka import Message as Record

from dagster_project.errors import KafkaError
from dagster_project.outbox.headers import Header
from dagster_project.topics import security
from dagster_project.topics.broker import Broker
from dagster_project.topics.client import TIMEOUT_S

# The broker aborts what a killed publisher left open 20 s after it began, and looks for it every 10 s.
_SETTLING_SECONDS = 40.0
# Taken from the library at a time: enough that the calls cost less than the messages.
_AT_ONCE = 1_000
_POLL_S = 0.1
_CONSUMER = {
    "group.id": "lakehouse-outbox-reader",  # required by the library; nothing is committed, and it needs no right
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",  # what retention deleted since the beginning was looked up is nobody's loss
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
    "log_level": 0,
}

# Of a name that is no text the library returns headers and leaves an error behind. Called from C, that is found at once and raised;
# a call in Python, once the interpreter has specialised it, leaves it to whatever comes next.
_HEADERS = methodcaller("headers")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A committed message; headers whose names are no text are left out, all of them."""

    partition: int
    offset: int
    at: dt.datetime
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


def messages(
    topic: str, *, bootstrap_servers: str, settled: bool, since: dt.datetime | None = None
) -> Iterator[Message]:
    """All committed messages of a topic, those of one Kafka partition in its order.

    Args:
        settled: read what is written by now to its very end. Of a topic that several transactions write to, a reader
            sees only what comes before the first open one, even if what comes after was committed long ago.
        since: leave out what stands before all that was written from then on.

    Raises:
        KafkaError: no broker, no such topic, no right to read it, or a transaction stays open.
    """
    broker = Broker(bootstrap_servers)
    found = broker.topic(topic)
    end = broker.written(found) if settled else found.end
    first = found.first if since is None else broker.since(found, since)
    unread = {partition for partition, offset in first.items() if offset < end[partition]}
    held: set[int] = set()  # by an open transaction
    # A deadline that only counts once nothing more comes: a long topic may take as long as it takes.
    heard = time.monotonic()
    with closing(Consumer({"bootstrap.servers": bootstrap_servers, **_CONSUMER, **security.librdkafka()})) as consumer:
        consumer.assign([TopicPartition(topic, partition, first[partition]) for partition in unread])
        while unread:
            for record in consumer.consume(_AT_ONCE, _POLL_S):
                partition, offset = record.partition() or 0, record.offset() or 0
                if (error := record.error()) is None:
                    heard = time.monotonic()
                    held.discard(partition)
                    yield _message(record)
                    if offset + 1 >= end[partition]:
                        unread.discard(partition)
                elif error.code() == BrokerError._PARTITION_EOF:
                    heard = time.monotonic()
                    (unread.discard if offset >= end[partition] else held.add)(partition)
                else:
                    _refuse(error, topic, servers=bootstrap_servers)
            _wait(topic, seconds=time.monotonic() - heard, held=unread <= held)


def _message(record: Record) -> Message:
    try:
        headers = _HEADERS(record) or []
    except SystemError:
        headers = []
    at = dt.datetime.fromtimestamp(record.timestamp()[1] / 1000, dt.UTC)
    return Message(
        partition=record.partition() or 0,
        offset=record.offset() or 0,
        at=at,
        key=record.key(),
        value=record.value(),
        headers=tuple((name, value.encode() if isinstance(value, str) else value) for name, value in headers),
    )


def _refuse(error: BrokerError, topic: str, *, servers: str) -> None:
    """A right that is missing is given by a person, so nobody waits for it; of all else the library tries again."""
    if error.code() == BrokerError.GROUP_AUTHORIZATION_FAILED:
        return
    if (refused := security.refusal(error, servers=servers, what=f"read topic {topic!r}")) is not None:
        raise refused


def _wait(topic: str, *, seconds: float, held: bool) -> None:
    if held and seconds > _SETTLING_SECONDS:
        raise KafkaError(
            f"topic {topic!r} has had an open transaction for {_SETTLING_SECONDS:.0f} s",
            expected="every transaction of a publisher to end in time",
            remedy="see `kafka-transactions.sh find-hanging`; nothing was written, try again when it has ended",
        )
    if not held and seconds > TIMEOUT_S:
        raise KafkaError(
            f"reading topic {topic!r} failed: nothing came for {TIMEOUT_S:.0f} s",
            expected=f"the broker to answer within {TIMEOUT_S:.0f} s",
            remedy="see `lakehouse status`; nothing was written, try again when it answers",
        )
