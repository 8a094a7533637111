"""Reading and changing a cluster's topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError as BrokerError
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from dagster_project.contract.model import Topic
from dagster_project.errors import KafkaError
from dagster_project.topics.client import TIMEOUT_S, admin_client, answer, describe
from dagster_project.topics.plan import SETTINGS, Existing, Step, plan


def plan_all(topics: Iterable[Topic], *, bootstrap_servers: str) -> list[Step]:
    """Compare every topic with the cluster.

    Raises:
        KafkaError: the cluster does not answer.
    """
    wanted = list(topics)
    admin = admin_client(bootstrap_servers)
    cluster = answer(admin.describe_cluster(request_timeout=TIMEOUT_S), servers=bootstrap_servers)
    existing = _existing(admin, [topic.name for topic in wanted], bootstrap_servers)
    return [plan(topic, existing.get(topic.name), brokers=len(cluster.nodes)) for topic in wanted]


def apply(step: Step, *, bootstrap_servers: str) -> None:
    """Carry out one step; doing it twice is harmless.

    Raises:
        KafkaError: the cluster refuses, or the step itself is a refusal.
    """
    admin = admin_client(bootstrap_servers)
    if step.action == "refuse":
        raise KafkaError(
            f"topic {step.topic!r}: " + "; ".join(step.notes), remedy="correct the contract, then apply again"
        )
    if step.action == "create":
        topic = NewTopic(step.topic, step.partitions, step.replication_factor, config=dict(step.config))
        created = admin.create_topics([topic], request_timeout=TIMEOUT_S)[step.topic]
        answer(
            created,
            servers=bootstrap_servers,
            what=f"change topic {step.topic!r}",
            accept=(BrokerError.TOPIC_ALREADY_EXISTS,),
        )
        return
    if step.action == "grow":
        partitions = NewPartitions(step.topic, step.partitions)
        grown = admin.create_partitions([partitions], request_timeout=TIMEOUT_S)[step.topic]
        answer(grown, servers=bootstrap_servers, what=f"change topic {step.topic!r}")
    if step.config:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in step.config.items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, step.topic, incremental_configs=entries)
        for future in admin.incremental_alter_configs([resource], request_timeout=TIMEOUT_S).values():
            answer(future, servers=bootstrap_servers, what=f"change topic {step.topic!r}")


def _existing(admin: AdminClient, names: list[str], servers: str) -> Mapping[str, Existing]:
    described = describe(admin, names, servers=servers)
    if not described:
        return {}
    futures = admin.describe_configs(
        [ConfigResource(ResourceType.TOPIC, name) for name in described], request_timeout=TIMEOUT_S
    )
    configs = {
        resource.name: answer(future, servers=servers, what=f"see the settings of topic {resource.name!r}")
        for resource, future in futures.items()
    }
    return {
        name: Existing(
            partitions=len(topic.partitions),
            replication_factor=min(len(partition.replicas) for partition in topic.partitions),
            config={setting: configs[name][setting].value for setting in SETTINGS},
        )
        for name, topic in described.items()
    }
