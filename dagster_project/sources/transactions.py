"""A Kafka producer that sends a batch of events and the index of the next one in one transaction."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from operator import itemgetter

import confluent_kafka as ck

from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.events import Event
from dagster_project.topics.patience import CALL_SECONDS, LOGGER, PATIENCE_SECONDS, own_errors, patiently

# The broker aborts a transaction by itself after this long: more than PATIENCE_SECONDS, so that never happens early.
TRANSACTION_TIMEOUT_MS = 60_000
# Waits for records to fill a request; 20 ms is about one full request of 1 MB at the rate that Python reaches.
LINGER_MS = 20
# A transaction that failed for a passing reason, such as a new leader, succeeds when done again; one that failed this
# often has another reason.
ATTEMPTS = 5


class TransactionalProducer:
    """Sends to one topic, and keeps in a consumer group how many events of a stream the topic has.

    Opening it ends what a killed predecessor left open, and shuts out a predecessor that still runs.

    Attributes:
        next_index: how many events of the stream are in the topic.

    Raises:
        KafkaError: from every method, when the broker does not answer in time or refuses for good, or when another
            producer of the topic took over.
    """

    def __init__(self, *, topic: str, bootstrap: str, progress_group: str) -> None:
        self._topic = topic
        self._bootstrap = bootstrap
        # Read-committed makes the broker wait until the offsets of an ended transaction are in place.
        consumer = ck.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": progress_group, "isolation.level": "read_committed"},
            logger=LOGGER,
        )
        with own_errors(topic), closing(consumer):
            self._producer = self._open()
            progress = [ck.TopicPartition(topic, 0)]
            committed = patiently(lambda seconds: consumer.committed(progress, timeout=seconds))[0].offset
            self._group_metadata = consumer.consumer_group_metadata()
        self.next_index = max(committed, 0)  # no commit yet is a negative offset

    def _open(self) -> ck.Producer:
        producer = ck.Producer(
            {
                "bootstrap.servers": self._bootstrap,
                "transactional.id": f"lakehouse-produce-{self._topic}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": LINGER_MS,
                "compression.type": "lz4",
                # As Java clients do it, so that a key has the same Kafka partition whoever sends it.
                "partitioner": "murmur2_random",
            },
            logger=LOGGER,
        )
        patiently(producer.init_transactions)
        return producer

    def send(self, events: Sequence[Event], *, log: DeliveryLog) -> None:
        """Send the events from `next_index` on, all or none; `log` has them before they are visible."""
        with own_errors(self._topic):
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self._transaction(events, log)
                    break
                except BaseException as reason:
                    aborted = self._abort(log)
                    passing = isinstance(reason, ck.KafkaException) and reason.args[0].txn_requires_abort()
                    if not (aborted and passing) or attempt == ATTEMPTS:
                        raise
        self.next_index += len(events)

    def settle(self) -> None:
        """Wait until all that was sent can be read.

        A commit only decides; the broker then marks each Kafka partition, and a read-committed consumer sees nothing
        of the transaction before that. To open a producer waits for it.
        """
        with own_errors(self._topic):
            self._producer = self._open()

    def _transaction(self, events: Sequence[Event], log: DeliveryLog) -> None:
        deliveries: list[Delivery] = []
        self._producer.begin_transaction()
        for index, event in enumerate(events, self.next_index):
            self._producer.produce(
                self._topic,
                key=event.key,
                value=event.value,
                headers=list(event.headers),
                on_delivery=partial(_note_delivery, deliveries, index, event),
            )
        self._flush()
        position = ck.TopicPartition(self._topic, 0, self.next_index + len(events))
        # Raises what befell an event that was not delivered, so past this line there is a place for each of them.
        patiently(partial(self._producer.send_offsets_to_transaction, [position], self._group_metadata))
        deliveries.sort(key=itemgetter(0))  # as the file is: line n is event n
        log.append(deliveries)
        patiently(self._producer.commit_transaction)

    def _flush(self) -> None:
        """Wait until each event is delivered or given up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while self._producer.flush(CALL_SECONDS) > 0:
                if time.monotonic() > deadline:
                    raise ck.KafkaException(ck.KafkaError(ck.KafkaError.REQUEST_TIMED_OUT))
        except SystemError as error:
            # The library sets a fatal error and still calls the delivery callbacks, at which Python complains.
            raise error.__cause__ or error from None

    def _abort(self, log: DeliveryLog) -> bool:
        """End the transaction without a trace. False where it cannot be: it is over, or the next producer ends it."""
        try:
            patiently(self._producer.abort_transaction)
        except ck.KafkaException:
            return False
        log.rewind(self.next_index)
        return True


def _note_delivery(
    deliveries: list[Delivery], index: int, event: Event, error: ck.KafkaError | None, message: ck.Message
) -> None:
    partition, offset = message.partition(), message.offset()
    if error is None and partition is not None and offset is not None:
        deliveries.append(Delivery(index, partition, offset, event))
