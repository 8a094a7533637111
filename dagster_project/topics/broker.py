"""A Kafka topic as the broker describes it: identity, Kafka partitions, and the offsets it still has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import IsolationLevel, TopicCollection, TopicPartition
from confluent_kafka import KafkaError as BrokerError
from confluent_kafka.admin import OffsetSpec

from dagster_project.errors import KafkaError
from dagster_project.topics.client import TIMEOUT_S, admin_client, answer


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

    def topics(self, names: Sequence[str]) -> dict[str, Topic]:
        """Describe topics with one call for each kind of fact, however many topics there are; missing ones are left out.

        Raises:
            KafkaError: the cluster does not answer.
        """
        # Asked first: of a cluster that is down this fails in one time-out, not in one for each topic.
        cluster = answer(self._admin.describe_cluster(request_timeout=TIMEOUT_S), servers=self._servers)
        assert cluster is not None
        described = {
            name: topic
            for name, future in self._admin.describe_topics(TopicCollection(list(names)), request_timeout=TIMEOUT_S).items()
            if (topic := answer(future, servers=self._servers, accept=BrokerError.UNKNOWN_TOPIC_OR_PART)) is not None
        }
        partitions = [
            TopicPartition(name, partition.id) for name, topic in described.items() for partition in topic.partitions
        ]
        first, end = self._offsets(partitions, OffsetSpec.earliest()), self._offsets(partitions, OffsetSpec.latest())
        return {
            name: Topic(
                name=name,
                cluster_id=str(cluster.cluster_id),
                topic_id=str(topic.topic_id).replace("/", "_"),
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

    def _offsets(self, partitions: Sequence[TopicPartition], spec: OffsetSpec) -> dict[tuple[str, int], int]:
        if not partitions:
            return {}
        # Read committed: the end is the last stable offset, beyond which nothing may be read yet.
        futures = self._admin.list_offsets(
            dict.fromkeys(partitions, spec), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT_S
        )
        found: dict[tuple[str, int], int] = {}
        for item, future in futures.items():
            result = answer(future, servers=self._servers)
            assert result is not None
            found[item.topic, item.partition] = result.offset
        return found
