"""What each component may do in Kafka, and that it is no more than it needs."""

from __future__ import annotations

from dagster_project.contract.model import Catalog
from dagster_project.topics.rights import COMPONENTS, Right, commands, rights


def test_nobody_may_write_where_another_does(catalog: Catalog) -> None:
    (dataset,) = catalog.datasets
    source, letters = dataset.topic.name, f"{dataset.topic.name}.dlq"
    writers: dict[str, set[str]] = {}
    for right in rights(catalog.datasets):
        if right.resource == "topic" and right.operation == "Write":
            writers.setdefault(right.name, set()).add(right.component)
    assert writers == {
        source: {"producer", "operator"},
        letters: {"outbox", "operator"},
        "lakehouse.outbox": {"outbox", "operator"},
    }


def test_a_monitor_reads_no_message(catalog: Catalog) -> None:
    operations = {right.operation for right in rights(catalog.datasets) if right.component == "monitor"}
    assert operations == {"Describe", "DescribeConfigs"}


def test_only_the_operator_changes_topics(catalog: Catalog) -> None:
    changing = {"Create", "Alter", "AlterConfigs"}
    assert {right.component for right in rights(catalog.datasets) if right.operation in changing} == {"operator"}


def test_each_right_is_there_once_and_every_component_has_some(catalog: Catalog) -> None:
    entries = rights([*catalog.datasets, *catalog.datasets])
    assert len(entries) == len(set(entries))
    assert {right.component for right in entries} == set(COMPONENTS)


def test_commands_say_the_same_as_the_entries() -> None:
    entries = [
        Right(component="ingest", operation="Read", resource="topic", name="orders"),
        Right(component="ingest", operation="DescribeConfigs", resource="topic", name="orders"),
        Right(component="producer", operation="Read", resource="group", name="lakehouse-produce-", prefixed=True),
    ]
    first, second = commands(entries)
    assert first.endswith(
        "--add --allow-principal User:ingest --operation Read --operation DescribeConfigs --topic orders"
    )
    assert second.endswith(
        "--allow-principal User:producer --operation Read --resource-pattern-type prefixed --group lakehouse-produce-"
    )
