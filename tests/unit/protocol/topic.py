"""A topic as plain Python holds it: Kafka partitions with offsets, gaps, growth and retention, and a reader of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from dagster_project.errors import LakehouseError, OffsetLossError
from dagster_project.ingest.fetch import Fetched, Limits
from dagster_project.topics import broker
from dagster_project.topics.log_runs import LogRuns
from tests.unit.lakes import CLUSTER, TOPIC_ID, Message, fetched


@dataclass(kw_only=True)
class ModelTopic:
    """By Kafka partition, what stands at each offset: a message, or nothing where a control record or gap is."""

    name: str
    topic_id: str = TOPIC_ID
    logs: list[list[Message | None]] = field(default_factory=lambda: [[], []])
    first: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})

    def grow(self) -> None:
        self.first[len(self.logs)] = 0
        self.logs.append([])

    def end(self) -> dict[int, int]:
        return {partition: len(log) for partition, log in enumerate(self.logs)}

    def messages(self) -> list[Message]:
        return [message for log in self.logs for message in log if message is not None]

    def as_broker(self) -> Any:
        """Stands in for `Broker`."""
        model = self

        class Broker:
            def __init__(self, _servers: str) -> None: ...

            def topic(self, name: str) -> broker.Topic:
                assert name == model.name
                return broker.Topic(
                    name=name, cluster_id=CLUSTER, topic_id=model.topic_id, first=dict(model.first), end=model.end()
                )

        return Broker

    @contextmanager
    def reading(self, *, offsets: Mapping[int, int], topic: str, **_: object) -> Generator[Reader]:
        """Stands in for `fetch.reading`."""
        assert topic == self.name
        yield Reader(self, offsets)


class Reader:
    """Gives messages as `Fetcher` does: bounded, one Kafka partition after the other, past gaps."""

    def __init__(self, topic: ModelTopic, offsets: Mapping[int, int]) -> None:
        self._topic = topic
        self._next = dict(offsets)
        self.gaps = LogRuns()

    def stop(self) -> None: ...

    def fetch(self, limits: Limits, *, gather: float = 0.0) -> Fetched:
        assert gather >= 0
        found: list[Message] = []
        for partition, offset in self._next.items():
            if offset < self._topic.first[partition]:
                raise OffsetLossError("an offset was deleted before it was read")
            log = self._topic.logs[partition]
            while len(found) < limits.rows and self._next[partition] < len(log):
                message = log[self._next[partition]]
                self._next[partition] += 1
                if message is not None:
                    found.append(message)
        ends = self._topic.end()
        behind = sum(ends[partition] - offset for partition, offset in self._next.items())
        unread = frozenset(partition for partition, offset in self._next.items() if offset < ends[partition])
        return replace(fetched(found, self._next), caught_up=behind == 0, behind=behind, unread=unread)


class AtOnce:
    """Stands in for the pool that reads ahead, so that a run of the machine can be repeated: it reads when it is asked."""

    def __init__(self, _size: int, **_: object) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, call: Callable[..., Any], *arguments: object, **options: object) -> Future[Any]:
        answer: Future[Any] = Future()
        try:
            answer.set_result(call(*arguments, **options))
        except LakehouseError as error:
            answer.set_exception(error)
        return answer
