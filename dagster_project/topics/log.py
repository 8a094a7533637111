"""A topic's log as runs of offsets by kind, read from the headers of its record batches: a million events in a tenth of a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dagster_project.errors import KafkaError, OffsetLossError
from dagster_project.topics.batches import Kind, runs
from dagster_project.topics.broker import Broker
from dagster_project.topics.log_runs import LogRuns
from dagster_project.topics.offsets import Offsets
from dagster_project.topics.patience import PATIENCE_SECONDS

if TYPE_CHECKING:
    from dagster_project.topics.feed import Feed

# An answer of one leader: what is held in memory at a time.
_ANSWER_BYTES = 64 << 20


def read_log(
    topic: str,
    *,
    start: Mapping[int, int],
    end: Mapping[int, int],
    bootstrap_servers: str,
) -> dict[Kind, Offsets]:
    """Classify the offsets from `start` to before `end`, by Kafka partition, where the brokers still have them.

    Args:
        end: at most the last stable offset.

    Raises:
        KafkaError: the cluster does not answer for PATIENCE_SECONDS, or not with what it should.
    """
    from dagster_project.topics.feed import Feed

    following = {partition: offset for partition, offset in start.items() if offset < end.get(partition, offset)}
    left = _left(following, end)
    found = LogRuns()
    silent_since = time.monotonic()
    with Feed(topic, bootstrap_servers=bootstrap_servers, most_bytes=_ANSWER_BYTES) as feed:
        while following:
            try:
                _round(feed, following=following, end=end, found=found)
            except OffsetLossError:  # retention has gone past what was to be read next
                first = Broker(bootstrap_servers).topic(topic).first
                for partition in list(following):
                    _move(following, partition, max(following[partition], first.get(partition, 0)), end)
            if left != (left := _left(following, end)):
                silent_since = time.monotonic()
            if time.monotonic() - silent_since > PATIENCE_SECONDS:
                missing = ", ".join(f"{partition}/{offset}" for partition, offset in following.items())
                raise KafkaError(
                    f"reading the log of {topic!r} failed: {feed.problem or f'nothing at {missing}'}",
                    expected=f"the brokers to answer within {PATIENCE_SECONDS:.0f} s",
                    remedy="see `lakehouse status`, then run the command again",
                )
    return found.offsets()


def _left(following: Mapping[int, int], end: Mapping[int, int]) -> int:
    return sum(end[partition] - offset for partition, offset in following.items())


def _round(feed: Feed, *, following: dict[int, int], end: Mapping[int, int], found: LogRuns) -> None:
    """Ask each leader once, and move `following` on."""
    for portion in feed.read(dict(following)):
        partition = portion.partition
        offset = following[partition]
        for run in runs(portion.content, portion.aborted, following=offset):
            if run.first < end[partition]:
                found.add(partition, run.first, min(run.last, end[partition] - 1), run.kind)
            offset = run.last + 1
        _move(following, partition, offset, end)


def _move(following: dict[int, int], partition: int, offset: int, end: Mapping[int, int]) -> None:
    following[partition] = offset
    if offset >= end[partition]:
        del following[partition]
