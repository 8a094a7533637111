"""A Kafka producer that sends a batch of events and the index of the next one in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial
from operator import itemgetter

import confluent_kafka as ck

from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.encoding import Encode, plain
from dagster_project.sources.events import Event
from dagster_project.sources.salting import Keying, by_merge_key
from dagster_project.topics import security
from dagster_project.topics.patience import LOGGER, bounded, own_errors, patiently
from dagster_project.topics.transactions import flush, open_producer, transact

# The broker aborts a transaction by itself after this long: more than PATIENCE_SECONDS, so that never happens early.
TRANSACTION_TIMEOUT_MS = 60_000
# librdkafka 2.16 forgets its own time-out here while the group's coordinator is down, and may wait for ever
# (confluentinc/librdkafka, issues 5456 and 5511). A coordinator that died is replaced within 8 s.
_COORDINATOR_S = 10.0


class TransactionalProducer:
    """Sends to one topic, and keeps in a consumer group how many events of a stream the topic has.

    Opening it ends what a killed predecessor left open, and shuts out a predecessor that still runs.

    Attributes:
        next_index: how many events of the stream are in the topic.

    Raises:
        KafkaError: from every method, when the broker does not answer in time or refuses for good, or when another
            producer of the topic took over.
    """

    def __init__(
        self,
        *,
        topic: str,
        bootstrap: str,
        progress_group: str,
        encode: Encode = plain,
        keying: Keying = by_merge_key,
    ) -> None:
        self._topic = topic
        self._encode = encode
        self._keying = keying
        self._bootstrap = bootstrap
        # Read-committed makes the broker wait until the offsets of an ended transaction are in place.
        consumer = ck.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": progress_group,
                "isolation.level": "read_committed",
                **security.librdkafka(),
            },
            logger=LOGGER,
        )
        with own_errors(topic, servers=bootstrap), closing(consumer):
            self._producer = self._open()
            progress = [ck.TopicPartition(topic, 0)]
            committed = patiently(lambda seconds: consumer.committed(progress, timeout=seconds))[0].offset
            self._group_metadata = consumer.consumer_group_metadata()
        self.next_index = max(committed, 0)  # no commit yet is a negative offset

    def _open(self) -> ck.Producer:
        return open_producer(
            f"lakehouse-produce-{self._topic}", bootstrap=self._bootstrap, timeout_ms=TRANSACTION_TIMEOUT_MS
        )

    def send(self, events: Sequence[Event], *, log: DeliveryLog) -> None:
        """Send the events from `next_index` on, all or none; `log` has them before they are visible."""
        with own_errors(self._topic, servers=self._bootstrap):
            transact(
                self._producer,
                partial(self._transaction, events, log),
                undo=partial(log.rewind, self.next_index),
            )
        self.next_index += len(events)

    def settle(self) -> None:
        """Wait until all that was sent can be read.

        A commit only decides; the broker then marks each Kafka partition, and a read-committed consumer sees nothing
        of the transaction before that. To open a producer waits for it.
        """
        with own_errors(self._topic, servers=self._bootstrap):
            self._producer = self._open()

    def _transaction(self, events: Sequence[Event], log: DeliveryLog) -> None:
        deliveries: list[Delivery] = []
        for index, event in enumerate(events, self.next_index):
            self._producer.produce(
                self._topic,
                key=self._keying(event),
                value=None if event.deletes else self._encode(event.value),
                timestamp=event.sent_at,
                headers=list(event.headers),
                on_delivery=partial(_note_delivery, deliveries, index, event),
            )
        flush(self._producer)
        position = ck.TopicPartition(self._topic, 0, self.next_index + len(events))
        # Raises what befell an event that was not delivered, so past this line there is a place for each of them.
        send_offsets = partial(self._producer.send_offsets_to_transaction, [position], self._group_metadata)
        bounded(partial(patiently, send_offsets), seconds=_COORDINATOR_S)
        deliveries.sort(key=itemgetter(0))  # as the file is: line n is event n
        log.append(deliveries)
        patiently(self._producer.commit_transaction)


def _note_delivery(
    deliveries: list[Delivery], index: int, event: Event, error: ck.KafkaError | None, message: ck.Message
) -> None:
    partition, offset = message.partition(), message.offset()
    if error is None and partition is not None and offset is not None:
        deliveries.append(Delivery(index, partition, offset, event))
