"""The kinds of offsets that a broker's log is read as are what its producers did."""

from __future__ import annotations

import random
import time

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from dagster_project.topics.broker import Broker
from dagster_project.topics.log import read_log
from dagster_project.topics.offsets import Offsets
from tests.integration.accounting.kafka import Place, Producer, create, delete_before, visible, wait_until

# The cleaner looks for work every 15 s.
_COMPACTION_SECONDS = 120.0


def places(offsets: Offsets) -> set[Place]:
    return {
        (partition, offset)
        for partition, first, last in offsets.rows().iter_rows()
        for offset in range(first, last + 1)
    }


def kinds(servers: str, topic: str) -> dict[str, set[Place]]:
    described = Broker(servers).topic(topic)
    found = read_log(topic, start=described.first, end=described.end, bootstrap_servers=servers)
    return {kind: places(offsets) for kind, offsets in found.items()}


def everything(servers: str, topic: str) -> set[Place]:
    described = Broker(servers).topic(topic)
    return {
        (partition, offset)
        for partition, end in described.end.items()
        for offset in range(described.first[partition], end)
    }


def test_transactions_and_new_kafka_partitions(broker: str) -> None:
    topic = create(broker, partitions=2)
    dice = random.Random(5)
    plain = Producer(broker, topic)
    one, two = (Producer(broker, topic, transactional=True) for _ in range(2))
    data: set[Place] = set()
    aborted: set[Place] = set()
    for step in range(40):
        if step == 20:
            admin = AdminClient({"bootstrap.servers": broker})
            admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
            wait_until(lambda: len(Broker(broker).topic(topic).end) == 3, seconds=30)
            plain = Producer(broker, topic)
            one, two = (Producer(broker, topic, transactional=True) for _ in range(2))
        partitions = 2 if step < 21 else 3
        messages = [
            (dice.randrange(partitions), b"k", b"v" * dice.randrange(200)) for _ in range(dice.randrange(1, 30))
        ]
        data.update(plain.send(messages[:2]))
        # Two transactions open at the same time, of which either, both or none is aborted.
        one._producer.begin_transaction()
        two._producer.begin_transaction()
        first = one.send(messages)
        second = two.send(messages[::2])
        first += one.send(messages[:3])
        for producer, sent in ((one, first), (two, second)):
            commit = dice.random() < 0.5
            (producer._producer.commit_transaction if commit else producer._producer.abort_transaction)(30)
            (data if commit else aborted).update(sent)
    # The marks of the last transactions may still be on their way.
    wait_until(lambda: visible(broker, topic) == data, seconds=30)
    found = kinds(broker, topic)
    assert found["data"] == data
    assert found["aborted"] == aborted
    assert found["control"] == everything(broker, topic) - data - aborted
    assert found["control"]
    assert not found["compacted"]


@pytest.mark.parametrize("middle", [False, True])
def test_only_what_was_asked_for_is_returned(broker: str, middle: bool) -> None:
    topic = create(broker)
    Producer(broker, topic).send([(0, None, b"v")] * 100)
    start, end = ({0: 37}, {0: 61}) if middle else ({0: 0}, {0: 100})
    found = read_log(topic, start=start, end=end, bootstrap_servers=broker)
    assert found["data"].rows().rows() == [(0, start[0], end[0] - 1)]
    assert not any(found[kind] for kind in ("control", "aborted", "compacted"))


def test_compacted_topics_of_every_codec(broker: str) -> None:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")
    latest: dict[str, set[Place]] = {}
    for codec in codecs:
        topic = create(
            broker,
            cleanup_policy="compact",
            segment_ms="200",
            min_cleanable_dirty_ratio="0.001",
            max_compaction_lag_ms="200",
            delete_retention_ms="600000",
        )
        producer = Producer(broker, topic, settings={"compression.type": codec})
        dice = random.Random(codec)
        last: dict[bytes, Place] = {}
        for _ in range(4):
            keys = [b"k%d" % dice.randrange(60) for _ in range(50)]
            # Among them deletes, which are messages as well.
            values = [None if dice.random() < 0.1 else b"v" * 50 for _ in keys]
            sent = producer.send([(0, key, value) for key, value in zip(keys, values, strict=True)])
            last.update(zip(keys, sent, strict=True))
        latest[topic] = set(last.values())
    time.sleep(1.0)
    for topic, kept in latest.items():  # the segment before this one is closed by it, and may be compacted from then on
        kept.update(Producer(broker, topic).send([(0, b"end", b"v")]))
    for topic, kept in latest.items():
        wait_until(lambda topic=topic, kept=kept: visible(broker, topic) == kept, seconds=_COMPACTION_SECONDS)
        found = kinds(broker, topic)
        assert found["data"] == kept
        assert found["compacted"] == everything(broker, topic) - kept
        assert len(found["compacted"]) > 100
        assert not found["control"] | found["aborted"]


def test_what_retention_has_deleted_is_passed_over(broker: str) -> None:
    topic = create(broker)
    Producer(broker, topic).send([(0, None, b"v")] * 100)
    delete_before(broker, topic, {0: 40})
    found = read_log(topic, start={0: 0}, end={0: 100}, bootstrap_servers=broker)
    assert found["data"].rows().rows() == [(0, 40, 99)]
    assert not found["compacted"]
