"""Reading a topic in bounded batches from given offsets."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka import KafkaError as BrokerError

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.errors import KafkaError, OffsetLossError
from dagster_project.lake import specs
from dagster_project.topics.client import TIMEOUT_S

CORRELATION_HEADER = "correlation_id"
_HEADERS = specs.MESSAGE["_headers"]
# Messages for one call into librdkafka: beyond some thousand the garbage collector costs more than the calls save.
_PER_CALL = 2_000
# Waiting this long for more messages before looking at the clock again.
_POLL_S = 0.2
_CONSUMER = {
    "enable.auto.commit": False,  # the cursor is in Bronze
    "auto.offset.reset": "error",  # a lost offset is an error, never a jump
    "isolation.level": "read_committed",
    "enable.partition.eof": True,  # says where the log ends, past control records that no message shows
    "check.crcs": True,
    # The defaults leave librdkafka idle most of the time; these keep it fetching ahead, within a bound on memory.
    "queued.min.messages": 200_000,
    "queued.max.messages.kbytes": 65_536,
    "fetch.queue.backoff.ms": 2,
    "fetch.wait.max.ms": 100,
    "socket.timeout.ms": int(TIMEOUT_S * 1000),
    "log_level": 0,  # what matters arrives as errors
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a batch is full. A batch holds all its rows in memory, so these bound memory whatever the backlog."""

    rows: int = 100_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 5.0


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One batch of messages.

    Attributes:
        messages: `_kafka_partition, _kafka_offset, _kafka_timestamp, _correlation_id, _key, _payload, _headers`.
        next: by Kafka partition, the offset to read next; moved past gaps that hold no message.
        caught_up: every partition was read to its end.
    """

    messages: pl.DataFrame
    next: Mapping[int, int]
    caught_up: bool


class Fetcher:
    """Reads one topic from assigned offsets; made by `reading`."""

    def __init__(self, consumer: Consumer, topic: str, offsets: Mapping[int, int]) -> None:
        self._consumer = consumer
        self._topic = topic
        self._next = dict(offsets)
        self._ended: set[int] = set()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have a `fetch` that goes on in another thread end soon; what it returns is of no use."""
        self._stopped.set()

    def fetch(self, limits: Limits, *, gather: float = 0.0) -> Fetched:
        """Read until the batch is full or every partition is at its end.

        Args:
            gather: seconds to go on for at least, unless the batch is full, though every partition is at its end.

        Raises:
            KafkaError: the broker stopped answering.
            OffsetLossError: an offset was deleted before it was read.
        """
        messages: list[Message] = []
        silent_since = began = time.monotonic()
        size, deadline = 0, began + limits.seconds
        while len(messages) < limits.rows and size < limits.bytes and time.monotonic() < deadline:
            if self._stopped.is_set():
                break
            answered = self._consumer.consume(min(_PER_CALL, limits.rows - len(messages)), _POLL_S)
            arrived = [message for message in answered if message.error() is None]
            # Of each Kafka partition the last one counts; offsets come in order.
            last = {message.partition(): message.offset() for message in arrived}
            for partition, offset in last.items():
                assert partition is not None
                assert offset is not None
                self._next[partition] = offset + 1
                self._ended.discard(partition)
            for message in answered if len(arrived) < len(answered) else ():
                if (error := message.error()) is not None:
                    self._event(message, error)
            messages += arrived
            size += sum(map(len, arrived))
            ended = len(self._ended) == len(self._next)
            if answered or ended:
                silent_since = time.monotonic()
            if ended and time.monotonic() - began >= gather:
                break
            if time.monotonic() - silent_since > TIMEOUT_S:
                raise self._unreachable("no answer")
        return Fetched(
            messages=_frame(messages, self._topic),
            next=dict(self._next),
            caught_up=len(self._ended) == len(self._next),
        )

    def _event(self, message: Message, error: BrokerError) -> None:
        partition, offset = message.partition(), message.offset()
        match error.code():
            case BrokerError._PARTITION_EOF if partition is not None and offset is not None:
                # An end that messages of the same answer have gone past was none.
                if offset >= self._next[partition]:
                    self._next[partition] = offset
                    self._ended.add(partition)
            case BrokerError._AUTO_OFFSET_RESET | BrokerError.OFFSET_OUT_OF_RANGE:
                raise OffsetLossError(
                    f"topic {self._topic!r}, partition {partition}: {error.str()}",
                    expected="every offset to be there until it was read",
                    remedy="nothing was skipped; the next run says which offsets are gone, and so does `lakehouse loss list`",
                )
            case BrokerError._ALL_BROKERS_DOWN | BrokerError._AUTHENTICATION | BrokerError.TOPIC_AUTHORIZATION_FAILED:
                raise self._unreachable(error.str())
            case _ if error.retriable() or error.code() == BrokerError._TRANSPORT:
                pass  # librdkafka tries again; silence beyond the time-out is the error
            case _:
                raise self._unreachable(error.str())

    def _unreachable(self, reason: str) -> KafkaError:
        return KafkaError(
            f"reading topic {self._topic!r} failed: {reason}",
            expected=f"the broker to answer within {TIMEOUT_S:.0f} s",
            remedy="see `lakehouse status`; what was committed stays, the next run reads on from there",
        )


@contextmanager
def reading(*, bootstrap_servers: str, topic: str, offsets: Mapping[int, int], group: str) -> Generator[Fetcher]:
    """Assign all partitions at the given offsets; the group is for monitoring only and never decides what is read."""
    consumer = Consumer({**_CONSUMER, "bootstrap.servers": bootstrap_servers, "group.id": group})
    try:
        consumer.assign([TopicPartition(topic, partition, offset) for partition, offset in offsets.items()])
        yield Fetcher(consumer, topic, offsets)
    finally:
        consumer.close()


def publish_offsets(*, bootstrap_servers: str, topic: str, offsets: Mapping[int, int], group: str) -> str | None:
    """Commit offsets to a Kafka group so that Kafka's own tools can show the lag.

    Returns:
        Why it could not be done; nothing depends on it, so a failure is no reason to stop.
    """
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "log_level": 0})
    try:
        consumer.commit(
            offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()],
            asynchronous=False,
        )
    except KafkaException as error:
        return str(error)
    finally:
        consumer.close()
    return None


def _frame(messages: list[Message], topic: str) -> pl.DataFrame:
    headers = [message.headers() for message in messages]
    own, entries = (
        _headers(headers) if any(headers) else (None, pl.repeat([], len(messages), dtype=_HEADERS, eager=True))
    )
    places = pl.DataFrame(
        {
            "_kafka_partition": pl.Series([message.partition() for message in messages], dtype=pl.Int32),
            "_kafka_offset": pl.Series([message.offset() for message in messages], dtype=pl.Int64),
        }
    )
    # Without a header the coordinates say as much.
    coordinates = pl.format("{}/{}/{}", pl.lit(topic), "_kafka_partition", "_kafka_offset")
    return places.with_columns(
        pl.Series([message.timestamp()[1] for message in messages], dtype=pl.Int64)
        .cast(pl.Datetime("ms", "UTC"))
        .cast(TIMESTAMP)
        .alias("_kafka_timestamp"),
        (coordinates if own is None else pl.coalesce(own, coordinates)).alias("_correlation_id"),
        pl.Series("_key", [message.key() for message in messages], dtype=pl.Binary),
        pl.Series("_payload", [message.value() for message in messages], dtype=pl.Binary),
        entries.alias("_headers"),
    )


def _headers(headers: list[Any]) -> tuple[pl.Series, pl.Series]:
    """Correlation ids, null where there is none, and all headers as a list column."""
    keys: list[str] = []
    values: list[bytes | None] = []
    ends = [0]
    correlations: list[str | None] = []
    for entries in headers:
        correlation: str | None = None
        # Values come as they were sent: librdkafka knows no text.
        for key, value in entries or ():
            keys.append(key)
            values.append(value)
            if key == CORRELATION_HEADER and value:
                correlation = value.decode("utf-8", "replace")
        ends.append(len(keys))
        correlations.append(correlation)
    pairs = pl.DataFrame(
        {"key": pl.Series(keys, dtype=pl.String), "value": pl.Series(values, dtype=pl.Binary)}
    ).to_struct()
    # Arrow knows lists by their ends, which polars would have to find out by grouping.
    lists = pa.LargeListArray.from_arrays(pl.Series(ends, dtype=pl.Int64).to_arrow(), pairs.to_arrow())
    return pl.Series(correlations, dtype=pl.String), pl.Series(lists)
