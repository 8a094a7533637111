"""The broker, for what no table tells. Where it does not answer, the tables' part of a journey is told all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError
from dagster_project.ingest.cursor import Cursor
from dagster_project.topics.batches import Kind
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.log import read_log
from dagster_project.topics.offsets import Offsets

_Answer = TypeVar("_Answer")


class Witness:
    """Asks the broker; once it has not answered, not again.

    Attributes:
        notes: why nothing was asked, or answered.
    """

    def __init__(self, servers: str | None) -> None:
        self._servers = servers
        self.notes: tuple[str, ...] = ()

    def ask(self, question: Callable[[str], _Answer]) -> _Answer | None:
        """The answer to a question, which gets the bootstrap servers; `None` if there is none."""
        if self._servers is None:
            self.notes = ("no Kafka broker was asked: dead letters and offsets that no table knows are not told of",)
            return None
        try:
            return question(self._servers)
        except KafkaError as error:
            self._servers, self.notes = None, (f"the Kafka broker was asked in vain: {error.found}",)
            return None

    def topic(self, dataset: Dataset) -> Topic | None:
        """The topic as it is now; `None` also where there is none."""
        return self.ask(lambda servers: Broker(servers).topics([dataset.topic.name]).get(dataset.topic.name))

    def log(self, dataset: Dataset, cursor: Cursor, partition: int, offset: int) -> Mapping[Kind, Offsets]:
        """What one offset is in the topic's log; empty where that is not there any more, or of another topic."""
        topic = self.topic(dataset)
        if topic is None or topic.topic_id != cursor.topic_id:
            return {}
        if not topic.first.get(partition, offset + 1) <= offset < topic.end[partition]:
            return {}
        start, end = {partition: offset}, {partition: offset + 1}
        return self.ask(lambda servers: read_log(topic.name, start=start, end=end, bootstrap_servers=servers)) or {}
