"""What is read of a topic is what librdkafka's consumer sees of it, in batches of the size that was asked for."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import confluent_kafka as ck
import pytest

from dagster_project.errors import KafkaError, OffsetLossError
from dagster_project.ingest.fetch import Fetched, Limits, reading
from dagster_project.services.ports import LOOPBACK
from dagster_project.topics.broker import Broker
from dagster_project.topics.log import read_log
from tests.integration.accounting.kafka import Producer, create, delete_before
from tests.integration.lake import PATIENCE, free_port, unique

PARTITIONS = 3
EVENTS = 5_000


def everything(servers: str, topic: str, limits: Limits, offsets: Mapping[int, int] | None = None) -> list[Fetched]:
    """Batches up to the topic's end, and what its gaps are."""
    described = Broker(servers).topic(topic)
    with reading(bootstrap_servers=servers, topic=topic, offsets=offsets or described.first) as fetcher:
        found = [fetcher.fetch(limits)]
        while not found[-1].caught_up:
            found.append(fetcher.fetch(limits))
        log = read_log(topic, start=described.first, end=described.end, bootstrap_servers=servers)
        for kind, gaps in fetcher.gaps.offsets().items():
            assert kind == "data" or offsets or gaps.rows().equals(log[kind].rows())
    assert dict(found[-1].next) == dict(described.end)
    return found


def rows(batches: list[Fetched]) -> list[tuple[Any, ...]]:
    names = ("_kafka_partition", "_kafka_offset", "_kafka_timestamp", "_key", "_payload", "_headers")
    return [
        (partition, offset, int(time.timestamp() * 1000), key, payload, [(h["key"], h["value"]) for h in headers])
        for batch in batches
        for partition, offset, time, key, payload, headers in batch.messages.select(names).iter_rows()
    ]


def seen(servers: str, topic: str) -> list[tuple[Any, ...]]:
    """The same by librdkafka."""
    end = Broker(servers).topic(topic).end
    consumer = ck.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": unique("reader"),
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    consumer.assign([ck.TopicPartition(topic, partition, ck.OFFSET_BEGINNING) for partition in end])
    found: list[tuple[Any, ...]] = []
    ended = 0
    while ended < len(end):
        message = consumer.poll(PATIENCE)
        assert message is not None
        if message.error() is not None:
            ended += 1
            continue
        headers = message.headers() or []
        found.append(
            (message.partition(), message.offset(), message.timestamp()[1], message.key(), message.value(), headers)
        )
    consumer.close()
    return found


@pytest.fixture(scope="module")
def filled(broker: str) -> str:
    """A topic with batches of every codec, headers, messages without key or value, and transactions of both ends."""
    topic = create(broker, partitions=PARTITIONS)
    dice = random.Random(1)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        producer = ck.Producer({"bootstrap.servers": broker, "compression.type": codec, "linger.ms": 20})
        for number in range(EVENTS // 5):
            headers: list[tuple[str, str | bytes | None]] = [("a", b"1"), ("correlation_id", b"c"), ("n", None)]
            producer.produce(
                topic,
                key=None if dice.random() < 0.1 else f"k{number}",
                value=None if dice.random() < 0.1 else dice.randbytes(dice.randrange(600)),
                partition=dice.randrange(PARTITIONS),
                headers=headers[: dice.randrange(4)],
            )
        assert producer.flush(PATIENCE) == 0
    for commit in (False, True, False):
        sender = Producer(broker, topic, transactional=True)
        sender.transaction([(at % PARTITIONS, b"t", b"v" * at) for at in range(100)], commit=commit)
    return topic


def test_it_is_what_the_usual_consumer_sees(broker: str, filled: str) -> None:
    found = rows(everything(broker, filled, Limits()))
    assert sorted(found, key=lambda row: row[:2]) == sorted(seen(broker, filled), key=lambda row: row[:2])
    assert len(found) == EVENTS + 100


@pytest.mark.parametrize("most", [1, 7, 997])
def test_batches_are_as_large_as_was_asked_and_go_on_where_the_last_one_ended(
    broker: str, filled: str, most: int
) -> None:
    topic = filled if most > 1 else create(broker)
    if most == 1:
        Producer(broker, topic).send([(0, None, b"v")] * 20)
    batches = everything(broker, topic, Limits(rows=most))
    assert {len(batch.messages) for batch in batches[:-1]} == {most}
    at = dict(Broker(broker).topic(topic).first)
    for batch in batches:
        for partition, offset in batch.messages.select("_kafka_partition", "_kafka_offset").iter_rows():
            assert offset >= at[partition]  # none twice, none out of order
            at[partition] = offset + 1
        assert all(at[partition] <= batch.next[partition] for partition in at)
    # From any of these places the rest is what was left.
    middle = batches[len(batches) // 2]
    rest = rows(everything(broker, topic, Limits(), middle.next))
    later = rows(batches[len(batches) // 2 + 1 :])
    assert sorted(rest, key=lambda row: row[:2]) == sorted(later, key=lambda row: row[:2])


def test_batches_end_at_their_bytes(broker: str) -> None:
    topic = create(broker)
    Producer(broker, topic).send([(0, None, b"v" * 100_000)] * 40)
    batches = everything(broker, topic, Limits(bytes=500_000))
    assert max(len(batch.messages) for batch in batches) <= 5
    assert sum(len(batch.messages) for batch in batches) == 40


def test_a_message_that_is_larger_than_an_answer_comes_whole(broker: str) -> None:
    topic = create(broker, max_message_bytes=str(40 << 20))
    producer = ck.Producer({"bootstrap.servers": broker, "message.max.bytes": 40 << 20})
    producer.produce(topic, value=b"v" * (30 << 20))
    producer.produce(topic, value=b"next")
    assert producer.flush(PATIENCE) == 0
    found = rows(everything(broker, topic, Limits()))
    assert [len(row[4]) for row in found] == [30 << 20, 4]


def test_what_was_deleted_is_a_loss_and_not_a_jump(broker: str) -> None:
    topic = create(broker)
    Producer(broker, topic).send([(0, None, b"v")] * 20)
    delete_before(broker, topic, {0: 10})
    for gone in (5, 21):
        with (
            reading(bootstrap_servers=broker, topic=topic, offsets={0: gone}) as fetcher,
            pytest.raises(OffsetLossError, match=f"no offset {gone}"),
        ):
            fetcher.fetch(Limits())


def test_a_dead_broker_is_an_error_that_says_so() -> None:
    with (
        reading(bootstrap_servers=f"{LOOPBACK}:{free_port()}", topic="any", offsets={0: 0}) as fetcher,
        pytest.raises(KafkaError, match="does not answer"),
    ):
        fetcher.fetch(Limits())


def test_a_topic_that_is_gone_is_an_error_in_the_end(broker: str) -> None:
    with (
        reading(bootstrap_servers=broker, topic=unique("never-made"), offsets={0: 0}) as fetcher,
        pytest.raises(KafkaError, match="no leader of Kafka partition 0"),
    ):
        fetcher.fetch(Limits(seconds=10 * PATIENCE))
