"""Reading a topic in bounded batches from given offsets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka import KafkaError as BrokerError

from dagster_project.errors import KafkaError
from dagster_project.lake import meter
from dagster_project.topics import security
from dagster_project.topics.client import TIMEOUT_S, admin_client, answer
from dagster_project.topics.log_runs import LogRuns

if TYPE_CHECKING:
    from dagster_project.ingest.records import Opened
    from dagster_project.topics.feed import Feed

# An answer of one leader, some ten thousand messages: of less, each costs as much as what it brings; all of it is in memory.
_ANSWER_BYTES = 16 << 20
# That a leader gathers, for a tenth of a second at most, once all there was is read: a steady stream comes in few answers.
_TRICKLE_BYTES = 1 << 20
# That wait to be handed out. Answers are opened as they come, and packed they are a fraction of this.
_MOST_BYTES = 256 << 20
# A backlog of so many batches takes some seconds, and is no reason to hold more of it in memory at a time.
_PATIENCE = 4
# What a broker that has just started says of a group; it takes over its work within a second or two.
_NOT_YET_LED = (
    BrokerError.NOT_COORDINATOR,
    BrokerError.COORDINATOR_NOT_AVAILABLE,
    BrokerError.COORDINATOR_LOAD_IN_PROGRESS,
)
_AGAIN_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Limits:
    """When a batch is full. A batch holds all its rows in memory, so these bound memory whatever the backlog.

    Attributes:
        growth: how many times as large it may become while there is a backlog.
    """

    rows: int = 100_000
    bytes: int = 64 * 1024 * 1024
    seconds: float = 5.0
    growth: int = 1

    def behind(self, lag: int) -> Limits:
        """The limits at a lag, in records: the more there is to be read, the larger a batch may be, within `growth`."""
        factor = min(lag // (_PATIENCE * self.rows), self.growth)
        return self if factor <= 1 else replace(self, rows=factor * self.rows, bytes=factor * self.bytes)


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One batch of messages.

    Attributes:
        messages: `_kafka_partition, _kafka_offset, _kafka_timestamp, _correlation_id, _key, _payload, _headers`; and `_error`
            where some were refused as they were, with neither key nor payload.
        next: by Kafka partition, the offset to read next; moved past gaps that hold no message.
        caught_up: every partition was read to its end.
        behind: offsets from `next` on that the topic had, as its leaders said last.
        unread: Kafka partitions that were not read to their end.
    """

    messages: pl.DataFrame
    next: Mapping[int, int]
    caught_up: bool
    behind: int = 0
    unread: frozenset[int] = frozenset()


class Fetcher:
    """Reads one topic from given offsets; made by `reading`.

    Attributes:
        gaps: offsets without a message so far, from the given ones on.
    """

    def __init__(self, feed: Feed, topic: str, offsets: Mapping[int, int]) -> None:
        # Imported here: with all they need these take half a second, and few processes that could read a topic do.
        from dagster_project.ingest import records

        self._opening = records
        self._feed = feed
        self._topic = topic
        self._read = dict(offsets)  # from the log
        self._next = dict(offsets)  # and handed out
        self.gaps = LogRuns()
        self._waiting: deque[Opened] = deque()  # what is between the two
        self._ended: set[int] = set()
        self._ends = dict(offsets)  # of the log, as its leaders said last
        self._silent_s = 0.0
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Have a `fetch` that goes on in another thread end soon; what it returns is of no use."""
        self._stopped.set()

    def fetch(self, limits: Limits, *, gather: float = 0.0) -> Fetched:
        """Read until the batch is full or every partition is at its end.

        Args:
            gather: seconds to go on for at least, unless the batch is full, though every partition is at its end.

        Raises:
            KafkaError: the broker stopped answering, or a batch of the log is damaged.
            OffsetLossError: an offset was deleted before it was read.
        """
        parts = [self._opening.nothing()]
        rows = size = 0
        asked = False
        began = time.monotonic()
        while rows < limits.rows and size < limits.bytes and time.monotonic() < began + limits.seconds:
            if self._stopped.is_set():
                break
            if self._waiting:
                part = self._take(limits.rows - rows, limits.bytes - size)
                parts.append(part.messages)
                rows, size = rows + len(part.messages), size + part.bytes
            elif asked and self._caught_up() and time.monotonic() - began >= gather:
                break
            else:
                self._ask()
                asked = True
        behind = sum(self._ends[partition] - offset for partition, offset in self._next.items())
        unread = (p for p, offset in self._next.items() if p not in self._ended or self._ends[p] > offset)
        return Fetched(
            # What was refused says why, and the others say nothing of that kind.
            messages=pl.concat(parts, how="diagonal"),
            next=dict(self._next),
            caught_up=self._caught_up(),
            behind=behind,
            unread=frozenset(unread),
        )

    def _caught_up(self) -> bool:
        return not self._waiting and len(self._ended) == len(self._next)

    def _ask(self) -> None:
        """Fetch what there is, as far as one answer of each leader goes."""
        began = time.monotonic()
        fewest = _TRICKLE_BYTES if self._caught_up() else 1
        for portion in self._feed.read(dict(self._read), fewest_bytes=fewest):
            meter.received(len(portion.content))
            if sum(part.bytes for part in self._waiting) > _MOST_BYTES:
                continue  # it is asked for again
            partition = portion.partition
            self._ends[partition] = portion.end
            part = self._opening.opened(portion, topic=self._topic, following=self._read[partition])
            if part.next > self._read[partition]:
                self._read[partition] = part.next
                for run in part.gaps:
                    self.gaps.add(partition, run.first, run.last, run.kind)
                self._waiting.append(part)
            elif part.next < portion.end:
                continue  # there should have been something
            began, self._silent_s = time.monotonic(), 0.0
            (self._ended.add if part.next >= portion.end else self._ended.discard)(partition)
        self._silent_s += time.monotonic() - began
        if self._silent_s > TIMEOUT_S:
            raise KafkaError(
                f"reading topic {self._topic!r} failed: {self._feed.problem or 'empty answers'}",
                expected=f"the broker to answer within {TIMEOUT_S:.0f} s",
                remedy="see `lakehouse status`; what was committed stays, the next run reads on from there",
            )

    def _take(self, rows: int, size: int) -> Opened:
        """Hand out what was read first, up to so many messages of it, and to about so many bytes."""
        part = self._waiting.popleft()
        count = len(part.messages)
        if count > (most := min(rows, max(1, count * size // max(1, part.bytes)))):
            rest = part.messages[most:]
            size = part.bytes * most // count
            self._waiting.appendleft(replace(part, messages=rest, bytes=part.bytes - size))
            part = replace(part, messages=part.messages[:most], next=int(rest["_kafka_offset"][0]), bytes=size)
        self._next[part.partition] = part.next
        return part


@contextmanager
def reading(*, bootstrap_servers: str, topic: str, offsets: Mapping[int, int]) -> Generator[Fetcher]:
    """Read all Kafka partitions from the given offsets; no group has a say in it."""
    from dagster_project.topics.feed import Feed

    with Feed(topic, bootstrap_servers=bootstrap_servers, most_bytes=_ANSWER_BYTES) as feed:
        yield Fetcher(feed, topic, offsets)


def publish_offsets(*, bootstrap_servers: str, topic: str, offsets: Mapping[int, int], group: str) -> str | None:
    """Commit offsets to a Kafka group so that Kafka's own tools can show the lag.

    Returns:
        Why it could not be done; nothing depends on it, so a failure is no reason to stop.
    """
    what = f"commit offsets of consumer group {group!r}"
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    # Not by a consumer: one that lacks the right to the group looks for its coordinator for a minute.
    admin = admin_client(bootstrap_servers)  # what it was asked for ends with it
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        asked = admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, places)], request_timeout=TIMEOUT_S
        )
        try:
            answered = answer(asked[group], servers=bootstrap_servers, what=what, accept=_NOT_YET_LED)
        except KafkaError as error:
            return str(error)
        failed = None if answered is None else _first_error(answered)
        if answered is not None and failed is None:
            return None
        if (failed is None or failed.code() in _NOT_YET_LED) and time.monotonic() < deadline:
            time.sleep(_AGAIN_S)
        elif failed is None:
            return f"consumer group {group!r} has had no coordinator for {TIMEOUT_S:.0f} s"
        else:
            return str(security.refusal(failed, servers=bootstrap_servers, what=what) or failed.str())


def _first_error(answered: ConsumerGroupTopicPartitions) -> BrokerError | None:
    return next((place.error for place in answered.topic_partitions or () if place.error), None)
