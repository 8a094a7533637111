"""Dagster's check of the accounts turns red, with the reason, for loss, damage and another topic of the same name."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest
from confluent_kafka.admin import AdminClient

from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker
from tests.integration.accounting.kafka import delete_before, wait_until
from tests.integration.lake import PATIENCE, Lake


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture(scope="module")
def drained(make_lake: Callable[[str], Lake]) -> Lake:
    lake = make_lake("orders")
    lake.produce(Orders(dataset=lake.dataset, events=500, seed=2, poison=0.0))
    lake.ingest()
    lake.refine()
    lake.compute()
    return lake


def check(lake: Lake, instance: dg.DagsterInstance) -> tuple[bool, str]:
    """Whether it passed, and its problems."""
    settings = Settings(home=lake.home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    job = build(lake.catalog, settings).resolve_job_def("verify_orders")
    result = job.execute_in_process(instance=instance)
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.check_name == "every_offset_accounted_for"
    return evaluation.passed, str(evaluation.metadata["problems"].value)


def test_damage(drained: Lake, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    assert check(drained, instance) == (True, "none")
    shutil.copytree(drained.storage.uri, tmp_path / "lake")
    lake = replace(drained, storage=Storage.at(str(tmp_path / "lake")))
    silver = lake.table(specs.silver(lake.dataset))
    path = silver.files()["path"][0]
    (Path(silver.uri) / unquote(path)).unlink()
    passed, problems = check(lake, instance)
    assert not passed
    assert f"silver/orders: file {path} of version " in problems


def test_loss_and_then_a_topic_that_was_made_anew(drained: Lake, instance: dg.DagsterInstance) -> None:
    topic = drained.dataset.topic.name
    read = Broker(drained.servers).topic(topic).end
    drained.produce(Orders(dataset=drained.dataset, events=100, seed=3, poison=0.0))
    partition = next(p for p, end in Broker(drained.servers).topic(topic).end.items() if end > read[p])
    delete_before(drained.servers, topic, {partition: read[partition] + 1})
    passed, problems = check(drained, instance)
    assert not passed
    assert f"no longer has offsets that were never read: partition {partition}" in problems

    admin = AdminClient({"bootstrap.servers": drained.servers})
    admin.delete_topics([topic])[topic].result(PATIENCE)
    wait_until(lambda: topic not in Broker(drained.servers).topics([topic]), seconds=PATIENCE)
    passed, problems = check(drained, instance)
    assert not passed
    assert f"no topic {topic!r}" in problems
    drained.create_topic()
    wait_until(lambda: topic in Broker(drained.servers).topics([topic]), seconds=PATIENCE)
    passed, problems = check(drained, instance)
    assert not passed
    assert "Bronze was read from id" in problems
