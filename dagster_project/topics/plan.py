"""What it takes to bring a cluster's topics to what the contracts say: a pure comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from dagster_project.contract.model import Topic

Action = Literal["create", "grow", "configure", "keep", "refuse"]
# Topic settings that contracts decide; all others are the cluster's own.
SETTINGS = ("min.insync.replicas", "retention.ms", "cleanup.policy", "max.message.bytes")


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A topic as the cluster has it; `config` holds the settings that contracts decide."""

    partitions: int
    replication_factor: int
    config: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What to do with one topic, and why.

    Attributes:
        replication_factor: to create it with; fewer than the contract's where the cluster has fewer brokers.
        config: settings to create it with, or to change.
        notes: what a person should know.
    """

    topic: str
    action: Action
    partitions: int
    replication_factor: int
    config: Mapping[str, str]
    notes: tuple[str, ...] = ()


def wanted_config(topic: Topic, *, replicas: int) -> dict[str, str]:
    """The settings that a contract decides; an in-sync minimum above the replicas would refuse every write."""
    largest = {} if topic.max_message_bytes is None else {"max.message.bytes": str(topic.max_message_bytes)}
    return {
        "min.insync.replicas": str(min(topic.min_insync_replicas, replicas)),
        "retention.ms": str(int(topic.retention.total_seconds() * 1000)),
        "cleanup.policy": topic.cleanup_policy,
        **largest,
    }


def plan(topic: Topic, existing: Existing | None, *, brokers: int) -> Step:
    """Compare one topic with the cluster; nothing is ever shrunk, moved or deleted."""
    if existing is None:
        replicas = min(topic.replication_factor, brokers)
        return Step(
            topic=topic.name,
            action="create",
            partitions=topic.partitions,
            replication_factor=replicas,
            config=wanted_config(topic, replicas=replicas),
            notes=_fewer(topic, replicas),
        )
    wanted = wanted_config(topic, replicas=existing.replication_factor)
    changes = {name: value for name, value in wanted.items() if existing.config.get(name) != value}
    notes = [*_fewer(topic, existing.replication_factor)]
    notes += [f"{name} is {existing.config.get(name)}, the contract says {value}" for name, value in changes.items()]
    action: Action = "configure" if changes else "keep"
    if existing.partitions < topic.partitions:
        action = "grow"
        notes.append(
            f"{existing.partitions} partitions, the contract says {topic.partitions}: keys move to other partitions"
        )
    elif existing.partitions > topic.partitions:
        action = "refuse"
        notes.append(
            f"{existing.partitions} partitions, the contract says {topic.partitions}: Kafka cannot take partitions away; "
            f"write partitions: {existing.partitions} into the contract"
        )
    return Step(
        topic=topic.name,
        action=action,
        partitions=max(topic.partitions, existing.partitions),
        replication_factor=existing.replication_factor,
        config=changes,
        notes=tuple(notes),
    )


def _fewer(topic: Topic, replicas: int) -> tuple[str, ...]:
    if replicas >= topic.replication_factor:
        return ()
    return (f"{replicas} replicas, the contract says {topic.replication_factor}: enough for development only",)
