"""A Kafka topic as the broker describes it: identity, Kafka partitions, and the offsets it still has."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka import KafkaError as BrokerError
from confluent_kafka.admin import OffsetSpec

from dagster_project.errors import KafkaError
from dagster_project.topics.client import TIMEOUT_S, admin_client, answer, describe, identity

# A topic that was just created, or whose broker just went, has no leader for a moment.
_NOT_YET_LED = (
    BrokerError.LEADER_NOT_AVAILABLE,
    BrokerError.NOT_LEADER_FOR_PARTITION,
    BrokerError.UNKNOWN_TOPIC_OR_PART,
    # Of a topic that was made anew the client may ask for the leader of the old one.
    BrokerError.UNKNOWN_LEADER_EPOCH,
    BrokerError.FENCED_LEADER_EPOCH,
)
_ELECTION_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic at one moment.

    Attributes:
        cluster_id, topic_id: what tells this topic from another of the same name.
        first, end: by Kafka partition, the oldest offset kept and the one after the last that may be read.
    """

    name: str
    cluster_id: str
    topic_id: str
    first: Mapping[int, int]
    end: Mapping[int, int]


class Broker:
    """Asks a Kafka cluster about topics; reads offsets only, never messages."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._admin = admin_client(bootstrap_servers)

    def cluster_id(self) -> str:
        """Which cluster this is.

        Raises:
            KafkaError: it does not answer.
        """
        return str(answer(self._admin.describe_cluster(request_timeout=TIMEOUT_S), servers=self._servers).cluster_id)

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Describe topics with one call for each kind of fact, however many topics there are; missing ones are left out.

        Raises:
            KafkaError: the cluster does not answer.
        """
        # Asked first: of a cluster that is down this fails in one time-out, not in one for each topic.
        cluster_id = self.cluster_id()
        described = describe(self._admin, names, servers=self._servers)
        partitions = [
            TopicPartition(name, partition.id) for name, topic in described.items() for partition in topic.partitions
        ]
        first, end = self._offsets(partitions, OffsetSpec.earliest()), self._offsets(partitions, OffsetSpec.latest())
        return {
            name: Topic(
                name=name,
                cluster_id=cluster_id,
                topic_id=identity(topic),
                first={partition.id: first[name, partition.id] for partition in topic.partitions},
                end={partition.id: end[name, partition.id] for partition in topic.partitions},
            )
            for name, topic in described.items()
        }

    def topic(self, name: str) -> Topic:
        """Describe one topic.

        Raises:
            KafkaError: the cluster does not answer, or has no such topic.
        """
        topic = self.topics([name]).get(name)
        if topic is None:
            raise KafkaError(
                f"no topic {name!r} at {self._servers}",
                expected="the topic of the contract to exist",
                remedy="run `lakehouse topics apply`",
            )
        return topic

    def written(self, topic: Topic) -> dict[int, int]:
        """By Kafka partition, the offset after the last record; above `end` while a transaction is open.

        Raises:
            KafkaError: the cluster does not answer.
        """
        partitions = [TopicPartition(topic.name, partition) for partition in topic.end]
        found = self._offsets(partitions, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)
        return {partition: offset for (_, partition), offset in found.items()}

    def since(self, topic: Topic, moment: dt.datetime) -> dict[int, int]:
        """By Kafka partition, the offset of the first record with this timestamp or a later one; where there is none, the end.

        Raises:
            KafkaError: the cluster does not answer.
        """
        partitions = [TopicPartition(topic.name, partition) for partition in topic.end]
        found = self._offsets(partitions, OffsetSpec.for_timestamp(int(moment.timestamp() * 1000)))
        return {p: topic.end[p] if offset < 0 else min(offset, topic.end[p]) for (_, p), offset in found.items()}

    def _offsets(
        self,
        partitions: Sequence[TopicPartition],
        spec: OffsetSpec | None,
        # The end is then the last stable offset, beyond which nothing may be read yet.
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        assert spec is not None  # the library sets it when it is loaded, which its types do not know
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            futures = self._admin.list_offsets(
                dict.fromkeys(partitions, spec), isolation_level=isolation, request_timeout=TIMEOUT_S
            )
            answers = {
                (item.topic, item.partition): answer(
                    future, servers=self._servers, what=f"see the offsets of topic {item.topic!r}", accept=_NOT_YET_LED
                )
                for item, future in futures.items()
            }
            found = {place: result.offset for place, result in answers.items() if result is not None}
            if len(found) == len(answers):
                return found
            if time.monotonic() > deadline:
                leaderless = ", ".join(f"{name}/{partition}" for name, partition in sorted(set(answers) - set(found)))
                raise KafkaError(
                    f"Kafka partitions without a leader at {self._servers}: {leaderless}",
                    expected=f"a leader for each within {TIMEOUT_S:.0f} s",
                    remedy="see `lakehouse status`; a broker that holds them is down",
                )
            time.sleep(_ELECTION_S)
