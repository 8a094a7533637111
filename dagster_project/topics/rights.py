"""Who may do what in a Kafka cluster: the least that each component needs, from the contracts alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, get_args

from dagster_project.contract.model import Dataset
from dagster_project.topics.derived import OUTBOX, dead_letters

# ingest: runs of Bronze, and the accounts that are checked after them. outbox: runs that publish poison. monitor: the live
# page and the exporter. producer: whoever sends a dataset's events. operator: `lakehouse topics apply` and `dlq replay`.
Component = Literal["ingest", "outbox", "monitor", "producer", "operator"]
Operation = Literal["Read", "Write", "Create", "Alter", "AlterConfigs", "Describe", "DescribeConfigs"]
Resource = Literal["topic", "group", "transactional-id"]
COMPONENTS: tuple[Component, ...] = get_args(Component)


@dataclass(frozen=True, kw_only=True)
class Right:
    """One access-control entry. Kafka lets whoever may read, write or alter something describe it, too.

    Attributes:
        prefixed: of everything whose name begins with `name`.
    """

    component: Component
    operation: Operation
    resource: Resource
    name: str
    prefixed: bool = False


def rights(datasets: Iterable[Dataset]) -> list[Right]:
    """What the components need for these datasets; who is not among them may do nothing."""
    found: dict[Right, None] = {}  # in order, each once
    for dataset in datasets:
        source, letters = dataset.topic.name, dead_letters(dataset).name
        replays = f"lakehouse-outbox-{source}"
        for right in (
            *_topic("ingest", source, "Read", "DescribeConfigs"),
            Right(component="ingest", operation="Read", resource="group", name=f"lakehouse-{dataset.name}"),
            # An account compares Bronze's poison with what was published.
            *_topic("ingest", letters, "Read"),
            *_topic("ingest", OUTBOX, "Read"),
            # It reads its own cursors, so that nothing is sent twice.
            *_topic("outbox", letters, "Read", "Write"),
            *_topic("outbox", OUTBOX, "Read", "Write"),
            Right(component="outbox", operation="Write", resource="transactional-id", name=replays),
            *_topic("monitor", source, "Describe", "DescribeConfigs"),
            *_topic("monitor", letters, "Describe"),
            *_topic("monitor", OUTBOX, "Describe"),
            # Read: how far a stream was sent is an offset of the topic, which Kafka lets only those commit who may read it.
            *_topic("producer", source, "Read", "Write"),
            Right(
                component="producer",
                operation="Write",
                resource="transactional-id",
                name=f"lakehouse-produce-{source}",
            ),
            # How far a stream was sent; the end of the name is made of the stream's parameters.
            Right(
                component="producer",
                operation="Read",
                resource="group",
                name=f"lakehouse-produce-{dataset.name}-",
                prefixed=True,
            ),
            *(
                right
                for name in (source, letters, OUTBOX)
                for right in _topic(
                    "operator", name, "Create", "Alter", "AlterConfigs", "DescribeConfigs", "Read", "Write"
                )
            ),
            Right(component="operator", operation="Write", resource="transactional-id", name=replays),
        ):
            found.setdefault(right)
    return sorted(found, key=lambda right: (COMPONENTS.index(right.component), _of(right)))


def commands(entries: Sequence[Right]) -> list[str]:
    """The same as calls of Kafka's own tool, one for each component and thing; the user is called like the component."""
    lines: list[str] = []
    for (component, (resource, name, prefixed)), group in groupby(entries, lambda right: (right.component, _of(right))):
        operations = [part for right in group for part in ("--operation", right.operation)]
        pattern = ["--resource-pattern-type", "prefixed"] if prefixed else []
        words = [*operations, *pattern, f"--{resource}", name]
        lines.append(f"{_TOOL} --add --allow-principal User:{component} {shlex.join(words)}")
    return lines


_TOOL = 'kafka-acls.sh --bootstrap-server "$KAFKA_BOOTSTRAP_SERVERS" --command-config operator.properties'


def _topic(component: Component, name: str, *operations: Operation) -> list[Right]:
    return [Right(component=component, operation=each, resource="topic", name=name) for each in operations]


def _of(right: Right) -> tuple[str, str, bool]:
    return right.resource, right.name, right.prefixed
