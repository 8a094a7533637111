"""How far a topic has been read: next offsets by Kafka partition, kept in Bronze's own commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dagster_project.errors import OffsetLossError, TopicIdentityError
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets

BATCH = "batch"


@dataclass(frozen=True, kw_only=True)
class Cursor:
    """A place in a topic.

    Attributes:
        start: by Kafka partition, the first offset that was ever to be read.
        next: by Kafka partition, the offset after the last one that is accounted for.
        batch_id: of the last batch, -1 before the first.
    """

    cluster_id: str
    topic_id: str
    start: Mapping[int, int] = field(default_factory=dict)
    next: Mapping[int, int] = field(default_factory=dict)
    batch_id: int = -1

    @classmethod
    def from_table(cls, cursors: Mapping[str, int]) -> Cursor | None:
        """Read what `to_table` wrote; `None` before the first batch.

        Raises:
            TopicIdentityError: the table holds cursors of more than one topic.
        """
        places: dict[tuple[str, str], dict[str, dict[int, int]]] = {}
        for name, value in cursors.items():
            if name.startswith("kafka/"):
                _, cluster_id, topic_id, partition, kind = name.split("/")
                places.setdefault((cluster_id, topic_id), {"start": {}, "next": {}})[kind][int(partition)] = value
        if not places:
            return None
        if len(places) > 1:
            raise TopicIdentityError(
                "Bronze holds cursors of several topics: " + ", ".join(topic_id for _, topic_id in places),
                expected="one topic for each Bronze table",
                remedy="restore the table to a version before the second topic",
            )
        ((cluster_id, topic_id), offsets) = next(iter(places.items()))
        return cls(cluster_id=cluster_id, topic_id=topic_id, **offsets, batch_id=cursors[BATCH])

    def topic(self, name: str) -> Topic:
        """The topic that was read, whatever the broker has now: its identity alone."""
        return Topic(name=name, cluster_id=self.cluster_id, topic_id=self.topic_id, first={}, end={})

    def to_table(self) -> dict[str, int]:
        """As named cursors of a Delta commit."""
        return {BATCH: self.batch_id, **self.offsets_to_table()}

    def offsets_to_table(self) -> dict[str, int]:
        """The same without the batch, which runs that read other Kafka partitions move as well."""
        return {
            **{self._name(partition, "start"): offset for partition, offset in self.start.items()},
            **{self._name(partition, "next"): offset for partition, offset in self.next.items()},
        }

    def _name(self, partition: int, kind: str) -> str:
        return f"kafka/{self.cluster_id}/{self.topic_id}/{partition}/{kind}"


def lag(cursor: Cursor | None, topic: Topic) -> int:
    """Offsets that Bronze does not hold yet; of a topic that the cursor does not belong to, all of them."""
    known = cursor.next if cursor is not None and cursor.topic_id == topic.topic_id else {}
    return sum(end - known.get(partition, topic.first[partition]) for partition, end in topic.end.items())


def resume(cursor: Cursor | None, topic: Topic, *, dataset: str, lost: Offsets) -> Cursor:
    """Where to read on: at the cursor, and at the oldest offset of partitions that it does not know.

    Args:
        lost: offsets that a person has declared lost; only over these may the cursor be moved.

    Raises:
        TopicIdentityError: the cursor was written for another topic or cluster.
        OffsetLossError: the broker has already deleted offsets that were never read.
    """
    if cursor is None:
        return Cursor(cluster_id=topic.cluster_id, topic_id=topic.topic_id, start=topic.first, next=topic.first)
    if (cursor.cluster_id, cursor.topic_id) != (topic.cluster_id, topic.topic_id):
        same = "the cluster is the same" if cursor.cluster_id == topic.cluster_id else "the cluster is another one"
        raise TopicIdentityError(
            f"topic {topic.name!r} has id {topic.topic_id}; Bronze was read from id {cursor.topic_id} ({same})",
            expected="the topic that the cursor belongs to: offsets of another topic mean other events",
            remedy="point KAFKA_BOOTSTRAP_SERVERS at the right cluster; for a topic that was deleted and created anew, "
            f"run `lakehouse retire {dataset}`",
        )
    oldest = {partition: topic.first.get(partition, offset) for partition, offset in cursor.next.items()}
    if undeclared := Offsets.of_bounds(cursor.next, oldest) - lost:
        ranges = ", ".join(
            f"partition {partition}: {low} to {high}" for partition, low, high in undeclared.rows().iter_rows()
        )
        raise OffsetLossError(
            f"topic {topic.name!r} no longer has offsets that were never read: {ranges}",
            expected="every offset to be read before the broker's retention deletes it",
            remedy="nothing was skipped; recover the events from another copy of the topic, or declare them lost with "
            f"`lakehouse loss accept {dataset} --reason …`",
        )
    beyond = {
        partition: offset for partition, offset in cursor.next.items() if offset > topic.end.get(partition, offset)
    }
    if beyond:
        raise TopicIdentityError(
            f"topic {topic.name!r} ends before the cursor in partitions {sorted(beyond)}",
            expected="a log at least as long as what was already read",
            remedy="the broker has lost acknowledged events; restore the topic before reading on",
        )
    unknown = {partition: offset for partition, offset in topic.first.items() if partition not in cursor.next}
    return Cursor(
        cluster_id=cursor.cluster_id,
        topic_id=cursor.topic_id,
        start={**cursor.start, **unknown},
        next={**{partition: max(offset, oldest[partition]) for partition, offset in cursor.next.items()}, **unknown},
        batch_id=cursor.batch_id,
    )
