"""What the ledger and the broker say of offsets, as far as either may be believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dagster_project.accounting.snapshot import Snapshot
from dagster_project.contract.model import Dataset
from dagster_project.errors import OffsetLossError, TopicIdentityError
from dagster_project.ingest.cursor import Cursor, resume
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Ledger
from dagster_project.topics.batches import Kind
from dagster_project.topics.broker import Topic
from dagster_project.topics.log import read_log
from dagster_project.topics.offsets import Offsets


@dataclass(frozen=True, kw_only=True)
class Witnesses:
    """The ledger; the topic, `None` if its log can prove nothing; and what is wrong with either."""

    ledger: Ledger
    topic: Topic | None
    problems: tuple[str, ...] = ()

    @classmethod
    def ask(
        cls, dataset: Dataset, tables: Snapshot, *, topic: Callable[[], Topic | None] | None, storage: Storage
    ) -> Witnesses:
        """Read the ledger, and only now ask for the topic: one that was described before the tables ends before them."""
        cursor = tables.cursor
        described = None if topic is None else topic()
        problems: list[str] = []
        if topic is not None and described is None and cursor is not None:
            problems.append(f"topic {dataset.topic.name!r} does not exist; Bronze was read from id {cursor.topic_id}")
        ledger = Ledger()
        # The ledger is Bronze's, whatever topic the broker has now.
        known = described if cursor is None else cursor.topic(dataset.topic.name)
        try:
            if known is not None:
                ledger = Ledger.read(tables.ledger.table, known, files=tables.ledger.files)
        except TopicIdentityError as error:
            problems.append(error.found)
        try:
            if described is not None:
                _check(dataset, cursor, described, lost=ledger.offsets("lost"), storage=storage)
        except OffsetLossError as error:
            problems.append(error.found)
        except TopicIdentityError as error:
            described = None
            problems.append(error.found)
        end = {} if cursor is None else cursor.next
        problems += [
            f"ledger/{dataset.name} knows Kafka partition {partition} up to offset {offset}, "
            f"Bronze's cursor is at {end.get(partition, 0)}"
            for partition, offset in ledger.covered.items()
            if offset > end.get(partition, 0)
        ]
        return cls(ledger=ledger, topic=described, problems=tuple(problems))

    def log(self, cursor: Cursor, *, bootstrap_servers: str) -> Mapping[Kind, Offsets]:
        """The broker's word on offsets below the cursor; empty without a topic.

        Raises:
            KafkaError: the broker does not answer.
        """
        if self.topic is None:
            return {}
        first, end = self.topic.first, self.topic.end
        kept = {partition: max(offset, first.get(partition, offset)) for partition, offset in cursor.start.items()}
        until = {partition: min(offset, end.get(partition, offset)) for partition, offset in cursor.next.items()}
        return read_log(self.topic.name, start=kept, end=until, bootstrap_servers=bootstrap_servers)


def _check(dataset: Dataset, cursor: Cursor | None, topic: Topic, *, lost: Offsets, storage: Storage) -> None:
    """Refuse a topic that is not the one that was read, or that has lost what was not."""
    try:
        resume(cursor, topic, dataset=dataset.name, lost=lost)
    except OffsetLossError:
        # Retention may have deleted what an ingest has read since: only what a newer cursor misses too is lost.
        bronze = Table.find(specs.bronze(dataset), storage=storage)
        newer = None if bronze is None else Cursor.from_table(bronze.cursors())
        if newer is None or any(offset < topic.first.get(p, offset) for p, offset in newer.next.items()):
            raise
