"""A producer that writes to one Kafka partition without a pause, and knows how long it had no answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

import confluent_kafka as ck
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from tests.chaos.world import BROKERS, World

TOPIC = "chaos.probe"
_PAUSE_SECONDS = 0.01
# Longer than any election; a message that is not acknowledged by then is reported as refused.
_PATIENCE_MS = 30_000
_ANSWER_SECONDS = 20.0


@dataclass(kw_only=True)
class Probe:
    """Attributes: `acknowledged` are the numbers that the cluster promised to keep; `times`, when it did."""

    partition: int
    acknowledged: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    refused: int = 0

    @property
    def gap(self) -> float:
        """Longest time between two acknowledged writes, in seconds."""
        return max((b - a for a, b in zip(self.times, self.times[1:], strict=False)), default=0.0)


def leaders(world: World, topic: str) -> dict[int, int]:
    """By Kafka partition, the id of the broker that leads it."""
    admin = AdminClient({"bootstrap.servers": world.servers, "log_level": 0})
    described = admin.describe_topics(TopicCollection([topic]))[topic].result(_ANSWER_SECONDS)
    return {partition.id: partition.leader.id for partition in described.partitions if partition.leader is not None}


def _led(world: World) -> dict[int, int]:
    """The leaders of the probe's topic, once each broker has heard of it and there is one for each Kafka partition."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        with suppress(ck.KafkaException):
            if len(led := leaders(world, TOPIC)) == BROKERS:
                return led
        assert time.monotonic() < deadline, "the probe's topic has no leaders"
        time.sleep(_PAUSE_SECONDS)


@contextmanager
def probing(world: World, broker: int | None = None, *, patience_ms: int = _PATIENCE_MS) -> Generator[Probe]:
    """Write to a Kafka partition that a broker leads, or to any."""
    admin = AdminClient({"bootstrap.servers": world.servers, "log_level": 0})
    with suppress(ck.KafkaException):  # it is there
        topic = NewTopic(TOPIC, BROKERS, BROKERS, config={"min.insync.replicas": "2"})
        admin.create_topics([topic])[TOPIC].result(_ANSWER_SECONDS)
    led = _led(world)
    probe = Probe(partition=next((partition for partition, leader in led.items() if leader == broker), 0))
    ending = threading.Event()
    thread = threading.Thread(target=_write, args=(world.servers, probe, ending, patience_ms), name="probe")
    thread.start()
    try:
        yield probe
    finally:
        ending.set()
        thread.join()


def _write(servers: str, probe: Probe, ending: threading.Event, patience_ms: int) -> None:
    producer = ck.Producer(
        {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": patience_ms == _PATIENCE_MS,  # a message given up would be fatal to it
            "linger.ms": 0,
            "message.timeout.ms": patience_ms,
            "log_level": 0,
        }
    )

    def noted(error: ck.KafkaError | None, message: ck.Message) -> None:
        if error is not None:
            probe.refused += 1
            return
        probe.times.append(time.monotonic())
        value = message.value()
        assert isinstance(value, bytes)
        probe.acknowledged.append(int(value))

    number = 0
    while not ending.is_set():
        producer.produce(TOPIC, str(number).encode(), partition=probe.partition, on_delivery=noted)
        producer.flush()
        number += 1
        time.sleep(_PAUSE_SECONDS)


def kept(world: World, probe: Probe) -> set[int]:
    """The numbers that are in the probe's Kafka partition."""
    consumer = ck.Consumer(
        {"bootstrap.servers": world.servers, "group.id": "probe", "enable.partition.eof": True, "log_level": 0}
    )
    found: set[int] = set()
    with closing(consumer):
        consumer.assign([ck.TopicPartition(TOPIC, probe.partition, ck.OFFSET_BEGINNING)])
        deadline = time.monotonic() + _ANSWER_SECONDS
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is None:
                continue
            error = message.error()
            if error is not None and error.code() == ck.KafkaError._PARTITION_EOF:
                return found
            value = message.value()
            if error is None and isinstance(value, bytes):
                found.add(int(value))
    raise TimeoutError("the probe's Kafka partition cannot be read to its end")
