"""Kafka transactions of one transactional id: opened, filled, and ended without a trace where they fail."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import confluent_kafka as ck

from dagster_project.topics import security
from dagster_project.topics.patience import CALL_SECONDS, LOGGER, PATIENCE_SECONDS, Abandoned, patiently

# Waits for records to fill a request; 20 ms is about one full request of 1 MB at the rate that Python reaches.
LINGER_MS = 20
# A transaction that failed for a passing reason, such as a new leader, succeeds when done again; one that failed this
# often has another reason.
ATTEMPTS = 5
# How large a message may be is for the broker to say; this is the most that the client library can be told.
_LARGEST_MESSAGE = 1_000_000_000


def open_producer(transactional_id: str, *, bootstrap: str, timeout_ms: int) -> ck.Producer:
    """End what a killed predecessor left open, wait until all it committed can be read, and shut out one that still runs.

    Args:
        timeout_ms: the broker aborts a transaction by itself after this long.

    Raises:
        confluent_kafka.KafkaException: no broker.
    """
    producer = ck.Producer(
        {
            "bootstrap.servers": bootstrap,
            "transactional.id": transactional_id,
            "transaction.timeout.ms": timeout_ms,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": LINGER_MS,
            "compression.type": "lz4",
            "message.max.bytes": _LARGEST_MESSAGE,
            # As Java clients do it, so that a key has the same Kafka partition whoever sends it.
            "partitioner": "murmur2_random",
            **security.librdkafka(),
        },
        logger=LOGGER,
    )
    patiently(producer.init_transactions)
    return producer


def transact(producer: ck.Producer, work: Callable[[], None], *, undo: Callable[[], None] = lambda: None) -> None:
    """Do the work of one transaction, all or nothing, and again where it failed for a passing reason.

    Args:
        work: sends, and commits in the end.
        undo: takes back what `work` did elsewhere; called when the transaction was aborted.

    Raises:
        confluent_kafka.KafkaException: it failed for good. Whether a commit without an answer was made is known once
            the next producer is open.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            producer.begin_transaction()
            work()
        except BaseException as reason:
            aborted = not isinstance(reason, Abandoned) and _abort(producer)
            if aborted:
                undo()
            passing = isinstance(reason, ck.KafkaException) and reason.args[0].txn_requires_abort()
            if not (aborted and passing) or attempt == ATTEMPTS:
                raise
        else:
            return


def put(producer: ck.Producer, topic: str, **record: Any) -> None:
    """Hand over one record; where the client library's queue is full, wait for the broker to take some.

    Args:
        record: as `confluent_kafka.Producer.produce` takes it.
    """
    while True:
        try:
            producer.produce(topic, **record)
        except BufferError:
            flush(producer)
        else:
            return


def flush(producer: ck.Producer) -> None:
    """Wait until each record is delivered or given up.

    Raises:
        confluent_kafka.KafkaException: PATIENCE_SECONDS are over, or another producer took over.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while producer.flush(CALL_SECONDS) > 0:
            if time.monotonic() > deadline:
                raise ck.KafkaException(ck.KafkaError(ck.KafkaError.REQUEST_TIMED_OUT))
    except SystemError as error:
        # The library sets a fatal error and still calls the delivery callbacks, at which Python complains.
        raise error.__cause__ or error from None


def _abort(producer: ck.Producer) -> bool:
    """End the transaction without a trace. False where it cannot be: it is over, or the next producer ends it."""
    try:
        patiently(producer.abort_transaction)
    except ck.KafkaException:
        return False
    return True
