"""How long until the broker deletes what Bronze has not read: against a real broker, with records of known age."""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from dagster_project.checks.retention import evaluate
from dagster_project.definitions import build
from dagster_project.ingest.horizon import Horizon, horizons
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import PATIENCE, Lake

HOUR = 3600.0


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


def look(lake: Lake) -> Horizon:
    (found,) = horizons([lake.dataset], storage=lake.storage, bootstrap_servers=lake.servers)
    return found


def keep(lake: Lake, **settings: object) -> None:
    """Change how the broker keeps the topic, behind the contract's back."""
    entries = [
        ConfigEntry(name.replace("_", "."), str(value), incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, lake.dataset.topic.name, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": lake.servers})
    admin.incremental_alter_configs([resource])[resource].result(PATIENCE)


def send(lake: Lake, *, partition: int, age: float) -> None:
    producer = Producer({"bootstrap.servers": lake.servers})
    stamp = int((time.time() - age) * 1000)
    producer.produce(lake.dataset.topic.name, b"anything", b"key", partition=partition, timestamp=stamp)
    assert producer.flush(PATIENCE) == 0


def delete(lake: Lake, *, partition: int, before: int) -> None:
    places = [TopicPartition(lake.dataset.topic.name, partition, before)]
    admin = AdminClient({"bootstrap.servers": lake.servers})
    for future in admin.delete_records(places).values():
        future.result(PATIENCE)


def test_the_oldest_unread_record_of_any_partition_decides(lake: Lake) -> None:
    keep(lake, retention_ms=int(20 * HOUR * 1000))
    assert (look(lake).state, look(lake).seconds, look(lake).lag) == ("safe", None, 0)

    send(lake, partition=0, age=1 * HOUR)
    send(lake, partition=1, age=2 * HOUR)
    found = look(lake)
    assert (found.state, found.lag, found.partition, found.offset) == ("safe", 2, 1, 0)
    assert found.seconds == pytest.approx(18 * HOUR, abs=60)
    assert evaluate(found).passed

    send(lake, partition=0, age=19 * HOUR)  # behind a younger one: retention goes by the first unread
    assert look(lake).partition == 1
    lake.ingest()
    assert (look(lake).state, look(lake).lag, look(lake).seconds) == ("safe", 0, None)

    send(lake, partition=0, age=18.5 * HOUR)
    found = look(lake)
    assert (found.state, found.partition, found.offset) == ("soon", 0, 2)
    assert found.seconds == pytest.approx(1.5 * HOUR, abs=60)
    verdict = evaluate(found)
    assert (verdict.passed, verdict.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert verdict.metadata["first_unread_offset"].value == 2

    keep(lake, retention_ms=-1)
    assert (look(lake).state, look(lake).seconds, look(lake).lag) == ("safe", None, 1)


def test_what_was_deleted_unread_is_an_error_that_says_what_to_do(lake: Lake) -> None:
    send(lake, partition=2, age=0)
    lake.ingest()
    send(lake, partition=2, age=0)
    send(lake, partition=2, age=0)
    delete(lake, partition=2, before=2)

    found = look(lake)
    assert found.state == "lost"
    assert "loss accept orders" in found.to_do
    assert evaluate(found).severity is dg.AssetCheckSeverity.ERROR

    settings = Settings(home=lake.home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    repository = build(lake.catalog, settings).get_repository_def()
    resources = {"kafka": KafkaResource(servers=lake.servers), "lake": LakeResource(uri=lake.storage.uri)}
    with dg.DagsterInstance.ephemeral() as instance:
        lag = repository.get_sensor_def("kafka_lag")(
            dg.build_sensor_context(instance, resources=resources, repository_def=repository)
        )
        assert isinstance(lag, dg.SensorResult)
        assert [request.job_name for request in lag.run_requests or []] == ["ingest_orders"]
        tick = repository.get_sensor_def("retention")(
            dg.build_sensor_context(instance, resources=resources, repository_def=repository)
        )
        assert isinstance(tick, dg.SensorResult)
        (event,) = tick.asset_events
        assert isinstance(event, dg.AssetCheckEvaluation)
        assert (event.passed, event.check_name) == (False, "time_to_loss")
        again = repository.get_sensor_def("retention")(
            dg.build_sensor_context(instance, cursor=tick.cursor, resources=resources, repository_def=repository)
        )
        assert isinstance(again, dg.SensorResult)
        assert not again.asset_events


def test_a_deleted_topic_launches_the_run_that_says_so(lake: Lake) -> None:
    send(lake, partition=0, age=0)
    lake.ingest()
    name = lake.dataset.topic.name
    admin = AdminClient({"bootstrap.servers": lake.servers})
    admin.delete_topics([name])[name].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while look(lake).state != "lost":
        assert time.monotonic() < deadline
