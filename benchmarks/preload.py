"""Sending a workload to a topic, and writing down what must become of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from confluent_kafka.admin import NewTopic

from benchmarks import oracle
from benchmarks.sender import Sender
from benchmarks.workload import Segment, Workload
from dagster_project.topics.broker import Broker
from dagster_project.topics.client import admin_client, answer

PARTITIONS = 8
# Messages that are sent between two looks at the clock.
_AT_ONCE = 1_000


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A topic that holds a workload.

    Attributes:
        folder: `end.json`, the offset after the last one of each Kafka partition; `events.ndjson`, the payloads that a
            reader of committed ones sees, if it was asked for; `oracle/`.
    """

    topic: str
    folder: Path
    counts: Mapping[str, int]

    @property
    def events(self) -> int:
        return self.counts["events"]

    @property
    def end(self) -> Path:
        return self.folder / "end.json"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.ndjson"

    @property
    def oracle(self) -> Path:
        return self.folder / "oracle"


def create(topic: str, *, servers: str) -> None:
    """Make a topic that keeps all it is given."""
    admin = admin_client(servers)  # what it was asked for ends with it
    made = admin.create_topics([NewTopic(topic, PARTITIONS, 1, config={"retention.ms": "-1"})])
    answer(made[topic], servers=servers)


def fill(
    workload: Workload,
    *,
    servers: str,
    topic: str,
    folder: Path,
    report: Callable[[int], None],
    events_file: bool = False,
    rate: float = math.inf,
) -> Loaded:
    """Send a workload to a topic that exists.

    Args:
        folder: a new one, for what `Loaded` describes.
        report: is told how many more events are there.
        rate: events a second.
    """
    folder.mkdir()
    expected = oracle.Oracle(folder / "oracle")
    sender = Sender(servers=servers, topic=topic)
    # A stream at a rate is made before it is sent: it is to cost the machine no more than a producer does.
    steady = rate < math.inf
    chunks = list(workload.chunks()) if steady else workload.chunks()
    began, sent = time.monotonic(), 0
    with ExitStack() as stack:
        lines = stack.enter_context((folder / "events.ndjson").open("wb")) if events_file else None
        for chunk in chunks:
            for segment in chunk.segments:
                for part in _parts(segment):
                    if (early := began + sent / rate - time.monotonic()) > 0:
                        time.sleep(early)
                    sender.send(part)
                    sent += len(part.messages)
                if lines is not None and segment.kind != "aborted":
                    lines.writelines(value + b"\n" for value in segment.messages["value"])
            expected.add(chunk)
            report(chunk.counts["events"])
    sender.close()
    expected.close()
    end = Broker(servers).topic(topic).end
    (folder / "end.json").write_text(json.dumps(dict(end)), encoding="utf-8")
    return Loaded(topic=topic, folder=folder, counts=expected.counts)


def _parts(segment: Segment) -> Iterator[Segment]:
    """A transaction whole, anything else in parts, so that a rate can be kept."""
    if segment.kind != "plain":
        yield segment
    else:
        for messages in segment.messages.iter_slices(_AT_ONCE):
            yield replace(segment, messages=messages)
