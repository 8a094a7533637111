"""How long the broker keeps records, and how old single records are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as BrokerError
from confluent_kafka.admin import ConfigResource, ResourceType

from dagster_project.errors import KafkaError
from dagster_project.topics import security
from dagster_project.topics.client import TIMEOUT_S, admin_client, answer

# Kafka partition of a topic.
Place = tuple[str, int]
_POLL_S = 0.1
_CONSUMER = {
    "group.id": "lakehouse-lag",  # required by the library; nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,  # says that nothing readable follows
    # One record of each Kafka partition is wanted, so as little as can be is fetched.
    "queued.min.messages": 1,
    "fetch.message.max.bytes": 16_384,
    "fetch.wait.max.ms": 10,
    "socket.timeout.ms": int(TIMEOUT_S * 1000),
    "log_level": 0,
}


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How the broker deletes from a topic, as it is set there now.

    Attributes:
        seconds: age beyond which records may be deleted; `None`: time deletes none.
        by_size: records may also be deleted earlier, when a Kafka partition outgrows its limit.
    """

    seconds: float | None
    by_size: bool = False


def retentions(names: Iterable[str], *, bootstrap_servers: str) -> dict[str, Retention]:
    """The retention of existing topics, in one call.

    Raises:
        KafkaError: the cluster does not answer.
    """
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    if not resources:
        return {}
    admin = admin_client(bootstrap_servers)  # kept until the answers are there: they go with it
    futures = admin.describe_configs(resources, request_timeout=TIMEOUT_S)
    found: dict[str, Retention] = {}
    for resource, future in futures.items():
        config = answer(future, servers=bootstrap_servers, what=f"see the settings of topic {resource.name!r}")
        milliseconds, size = int(config["retention.ms"].value), int(config["retention.bytes"].value)
        deletes = "delete" in config["cleanup.policy"].value
        found[str(resource.name)] = Retention(
            seconds=milliseconds / 1000 if deletes and milliseconds >= 0 else None, by_size=deletes and size >= 0
        )
    return found


def record_times(offsets: Mapping[Place, int], *, bootstrap_servers: str) -> dict[Place, float]:
    """By Kafka partition, the time of the first readable record at or after an offset, in seconds since the epoch.

    Partitions without such a record, or without a leader for the time being, are left out.

    Raises:
        KafkaError: the cluster does not let this process read.
    """
    if not offsets:
        return {}
    waiting, found = set(offsets), dict[Place, float]()
    deadline = time.monotonic() + TIMEOUT_S
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, **_CONSUMER, **security.librdkafka()})
    try:
        consumer.assign([TopicPartition(*place, offset) for place, offset in offsets.items()])
        while waiting and time.monotonic() < deadline:
            for message in consumer.consume(len(waiting), _POLL_S):
                place = (str(message.topic()), int(message.partition() or 0))
                error = message.error()
                if error is not None and (
                    refused := security.refusal(
                        error, servers=bootstrap_servers, what=f"read topic {message.topic()!r}"
                    )
                ):
                    raise refused
                if error is not None and error.retriable():
                    continue
                if error is not None and error.code() in {BrokerError._TRANSPORT, BrokerError._ALL_BROKERS_DOWN}:
                    continue  # librdkafka tries again, up to the deadline
                if place in waiting:
                    waiting.discard(place)
                    consumer.pause([TopicPartition(*place)])
                    kind, milliseconds = message.timestamp()
                    if error is None and kind != TIMESTAMP_NOT_AVAILABLE:
                        found[place] = milliseconds / 1000
    except KafkaException as error:
        raise KafkaError(
            f"reading at {bootstrap_servers} failed: {error}",
            expected="leave to read the contracts' topics",
            remedy="see `lakehouse status`",
        ) from error
    finally:
        consumer.close()
    return found
