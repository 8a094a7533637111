"""Two producers for one topic: for what is sent plainly, and for transactions."""

from __future__ import annotations

import confluent_kafka as ck

from benchmarks.workload import Segment

_PRODUCER = {
    "enable.idempotence": True,  # a retry must not double what the oracle counts once
    "acks": "all",
    "partitioner": "murmur2_random",  # as Java clients do it
    "compression.type": "lz4",
    # Full batches: the topic is to be filled, not the time to be spent.
    "linger.ms": 200,
    "batch.num.messages": 10_000,
    "batch.size": 1 << 20,
    "queue.buffering.max.messages": 200_000,
    "queue.buffering.max.kbytes": 128 << 10,
    "log_level": 0,  # what is fatal is raised
}
# What the broker may take for one call, on a machine that does other things besides.
_PATIENCE_S = 120.0
# A full queue is looked at again after this long: a few requests of 1 MB.
_FULL_S = 0.02


class Sender:
    """A producer for what is sent plainly, and one for transactions."""

    def __init__(self, *, servers: str, topic: str) -> None:
        self._topic = topic
        self._failures: list[ck.KafkaError] = []
        settings = {**_PRODUCER, "bootstrap.servers": servers, "error_cb": self._note}
        self._plain = ck.Producer({**settings, "enable.gapless.guarantee": True})
        # A transaction is over when its last batch is there: nothing is gained by waiting for more.
        self._transactional = ck.Producer({**settings, "transactional.id": f"benchmark-{topic}", "linger.ms": 1})
        self._transactional.init_transactions(_PATIENCE_S)

    def send(self, segment: Segment) -> None:
        """Hand over a segment's messages; those of a transaction are in the topic afterwards."""
        if segment.kind == "plain":
            self._produce(self._plain, segment)
            return
        self._transactional.begin_transaction()
        self._produce(self._transactional, segment)
        if segment.kind == "committed":
            self._transactional.commit_transaction(_PATIENCE_S)
        else:
            # Delivered first, so that the aborted messages are in the log.
            self._flush(self._transactional)
            self._transactional.abort_transaction(_PATIENCE_S)

    def close(self) -> None:
        """Wait until everything is in the topic."""
        self._flush(self._plain)
        self._check()

    def _produce(self, producer: ck.Producer, segment: Segment) -> None:
        produce, topic = producer.produce, self._topic
        keys, values = (segment.messages[name].to_list() for name in ("key", "value"))
        for key, value in zip(keys, values, strict=True):
            while True:
                try:
                    produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(_FULL_S)
        producer.poll(0)
        self._check()

    def _flush(self, producer: ck.Producer) -> None:
        if producer.flush(_PATIENCE_S):
            raise ck.KafkaException(ck.KafkaError(ck.KafkaError._TIMED_OUT))

    def _note(self, error: ck.KafkaError) -> None:
        if error.fatal():
            self._failures.append(error)

    def _check(self) -> None:
        if self._failures:
            raise ck.KafkaException(self._failures[0])
