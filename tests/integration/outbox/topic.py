"""A topic as its users see it: what they send, and what a read-committed consumer gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import confluent_kafka as ck

from dagster_project.settings import REPOSITORY
from tests.integration.lake import COMMAND_PATIENCE, PATIENCE

Headers = Sequence[tuple[str, bytes | None]]
Place = tuple[int, int]


class Record(NamedTuple):
    """A record without its place."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def send(topic: str, servers: str, records: Iterable[Record]) -> dict[Place, Record]:
    """Send records; returns them by the place that the broker gave them."""
    # As large as the broker takes, and larger than the client library's own limit.
    producer = ck.Producer({"bootstrap.servers": servers, "message.max.bytes": 1_048_588, "acks": "all"})
    found: dict[Place, Record] = {}
    for record in records:
        delivered: list[ck.Message] = []

        def note(error: ck.KafkaError | None, message: ck.Message, delivered: list[ck.Message] = delivered) -> None:
            assert error is None, error
            delivered.append(message)

        producer.produce(topic, key=record.key, value=record.value, headers=list(record.headers), on_delivery=note)
        assert producer.flush(PATIENCE) == 0
        found[place(delivered[0])] = record
    return found


def place(message: ck.Message) -> Place:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def consume(topic: str, servers: str) -> dict[Place, Record]:
    """All committed records of a topic by their places, in the order of each Kafka partition."""
    settings = {"bootstrap.servers": servers, "group.id": "test", "isolation.level": "read_committed"}
    consumer = ck.Consumer(settings | {"enable.partition.eof": True, "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, PATIENCE).topics[topic].partitions
    consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING) for partition in partitions])
    found: dict[Place, Record] = {}
    ended: set[int | None] = set()
    while len(ended) < len(partitions):
        message = consumer.poll(PATIENCE)
        assert message is not None
        error = message.error()
        if error is None:
            found[place(message)] = record_of(message)
        else:
            assert error.code() == ck.KafkaError._PARTITION_EOF
            ended.add(message.partition())
    consumer.close()
    return found


def record_of(message: ck.Message) -> Record:
    key, value = message.key(), message.value()
    assert not isinstance(key, str)
    assert not isinstance(value, str)
    return Record(key, value, tuple(message.headers() or ()))  # pyright: ignore[reportArgumentType]


def killed(script: str, *arguments: str) -> None:
    """Run a script that kills itself, and see that it did."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=COMMAND_PATIENCE,
        check=False,
    )
    assert done.returncode == -9, done.stderr
