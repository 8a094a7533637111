"""Topics with every kind of gap, and what their producer knows of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, NewTopic

from dagster_project.topics.broker import Broker
from tests.integration.lake import PATIENCE, unique

Place = tuple[int, int]


def create(servers: str, *, partitions: int = 1, **config: str) -> str:
    """A new topic; dots in settings are written as underscores."""
    name = unique("gaps")
    settings = {key.replace("_", "."): value for key, value in config.items()}
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while name not in Broker(servers).topics([name]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return name


@dataclass
class Producer:
    """Sends messages, one record batch a message if told so, and notes where each of them came to be."""

    servers: str
    topic: str
    transactional: bool = False
    settings: dict[str, object] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    def __post_init__(self) -> None:
        own = {"transactional.id": unique("producer")} if self.transactional else {}
        self._producer = ck.Producer({"bootstrap.servers": self.servers, "linger.ms": 50, **own, **self.settings})
        if self.transactional:
            self._producer.init_transactions(PATIENCE)

    def send(self, messages: Iterable[tuple[int, bytes | None, bytes | None]]) -> list[Place]:
        """Kafka partition, key and value of each; returns where they are."""
        found: list[Place] = []

        def note(error: ck.KafkaError | None, message: ck.Message) -> None:
            partition, offset = message.partition(), message.offset()
            assert error is None
            assert partition is not None
            assert offset is not None
            found.append((partition, offset))

        for partition, key, value in messages:
            self._producer.produce(self.topic, key=key, value=value, partition=partition, on_delivery=note)
        assert self._producer.flush(PATIENCE) == 0
        return found

    def transaction(self, messages: Iterable[tuple[int, bytes | None, bytes | None]], *, commit: bool) -> list[Place]:
        self._producer.begin_transaction()
        found = self.send(messages)
        (self._producer.commit_transaction if commit else self._producer.abort_transaction)(PATIENCE)
        return found


def delete_before(servers: str, topic: str, offsets: dict[int, int]) -> None:
    """Delete all messages before some offsets, as retention does."""
    admin = AdminClient({"bootstrap.servers": servers})
    wanted = [ck.TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for future in admin.delete_records(wanted).values():
        future.result(PATIENCE)


def visible(servers: str, topic: str) -> set[Place]:
    """What a consumer of committed messages sees, by librdkafka's own reckoning."""
    described = Broker(servers).topic(topic)
    consumer = ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": unique("reader"),
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([ck.TopicPartition(topic, partition, offset) for partition, offset in described.first.items()])
    found: set[Place] = set()
    ended: set[int | None] = set()
    while len(ended) < len(described.first):
        message = consumer.poll(PATIENCE)
        assert message is not None
        if message.error() is not None:
            ended.add(message.partition())
            continue
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        found.add((partition, offset))
    consumer.close()
    return found


def wait_until(true: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.5)
