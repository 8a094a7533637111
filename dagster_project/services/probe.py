"""Asking a Kafka cluster who is there."""

from __future__ import annotations

import time
from collections.abc import Sequence

from confluent_kafka import KafkaException

from dagster_project.errors import ServiceError
from dagster_project.services.cluster import Broker
from dagster_project.topics import security

# Starting takes 3 to 10 s, more where three start on few cores beside other work.
START_SECONDS = 60.0
# One request within this machine or network.
ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_LOG_LINES = 15


def registered(bootstrap_servers: str, *, patience: float = ANSWER_SECONDS) -> tuple[str, frozenset[int]]:
    """The cluster's id, and the ids of its brokers that are in service; `("", frozenset())` if none answers.

    Raises:
        KafkaError: an option of KAFKA_… is not accepted.
    """
    # log_level 0: that nobody listens yet is no news. A quick first retry, since a broker is just about to listen.
    client = security.admin(bootstrap_servers, {"log_level": 0, "reconnect.backoff.max.ms": 200})
    try:
        metadata = client.list_topics(timeout=patience)
    except KafkaException:
        return "", frozenset()
    return str(metadata.cluster_id), frozenset(metadata.brokers)


def wait_until_in_service(bootstrap_servers: str, brokers: Sequence[Broker]) -> None:
    """Wait until the cluster counts all of `brokers` as its own.

    Raises:
        ServiceError: one has ended, or one is still not there after 60 s.
    """
    wanted = frozenset(broker.id for broker in brokers)
    deadline = time.monotonic() + START_SECONDS
    while True:
        for broker in brokers:
            if not broker.is_running:
                raise _failed(broker, "ended while it started")
        _, present = registered(bootstrap_servers, patience=1.0)
        if wanted <= present:
            return
        if time.monotonic() > deadline:
            late = next(broker for broker in brokers if broker.id not in present)
            raise _failed(late, f"is not in service after {START_SECONDS:.0f} s")
        time.sleep(_RETRY_SECONDS)


def _failed(broker: Broker, what: str) -> ServiceError:
    lines = broker.log.read_text(errors="replace").splitlines() if broker.log.exists() else []
    tail = "\n".join(f"    {line}" for line in lines[-_LOG_LINES:])
    return ServiceError(
        f"Kafka broker {broker.id} {what}; the end of its log:\n{tail}",
        remedy=f"read {broker.log}, then run `lakehouse up` again",
    )
