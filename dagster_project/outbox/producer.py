"""The one producer of a dead-letter queue: whoever writes to it, publisher or replay, shuts out the one before."""

from __future__ import annotations

import confluent_kafka as ck

from dagster_project.contract.model import Dataset
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.derived import OUTBOX, dead_letters
from dagster_project.topics.transactions import open_producer

# A transaction takes a second or two. While one is open that a killed publisher left, nobody reads past it: consumers
# of the queue, and in the topic of the cursors the publishers of other datasets.
_TIMEOUT_MS = 20_000


def open_outbox(dataset: Dataset, *, bootstrap_servers: str) -> ck.Producer:
    """Open the producer; what was committed before can be read from here on, and nobody else adds to it.

    Raises:
        confluent_kafka.KafkaException: no broker.
    """
    return open_producer(f"lakehouse-outbox-{dataset.topic.name}", bootstrap=bootstrap_servers, timeout_ms=_TIMEOUT_MS)


def queue(dataset: Dataset, *, bootstrap_servers: str) -> Topic:
    """The dead-letter queue as the broker has it.

    Raises:
        KafkaError: it is missing, or the topic of the cursors is: a producer must not make them by the way.
    """
    broker = Broker(bootstrap_servers)
    broker.topic(OUTBOX)
    return broker.topic(dead_letters(dataset).name)
