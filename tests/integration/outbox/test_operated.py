"""Dagster publishes poison by itself: the sensor asks for a run when the queue lacks something, and only then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import dagster as dg
import pytest

from dagster_project.definitions import build
from dagster_project.outbox.letters import read_letters
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import Lake, free_port
from tests.integration.outbox.topic import Record, send


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def test_poison_is_published_by_a_run_and_asked_for_once(lake: Lake, instance: dg.DagsterInstance) -> None:
    settings = Settings(home=lake.home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    definitions = build(lake.catalog, settings)
    repository = definitions.get_repository_def()
    nobody = f"{LOOPBACK}:{free_port()}"

    def tick(cursor: str | None = None, *, servers: str = lake.servers) -> dg.SensorResult | dg.SkipReason:
        resources = {"lake": LakeResource(uri=lake.storage.uri), "kafka": KafkaResource(servers=servers)}
        context = dg.build_sensor_context(instance, cursor=cursor, resources=resources, repository_def=repository)
        found = repository.get_sensor_def("outbox")(context)
        assert isinstance(found, (dg.SensorResult, dg.SkipReason))
        return found

    def skipped(found: dg.SensorResult | dg.SkipReason) -> str:
        reason = found if isinstance(found, dg.SkipReason) else found.skip_reason
        assert reason is not None
        return (reason if isinstance(reason, str) else reason.skip_message) or ""

    def publish() -> dict[str, object]:
        job = definitions.resolve_job_def("publish_dlq_orders")
        done = job.execute_in_process(instance=instance)
        (event,) = done.asset_materializations_for_node("dlq__orders")
        return {name: value.value for name, value in event.metadata.items()}

    # Nothing was written yet, and nothing that was needs the broker to be asked.
    assert skipped(tick(servers=nobody)) == "everything is published"
    send(lake.dataset.topic.name, lake.servers, [Record(b"a", b"{"), Record(b"b", b"[]")])
    lake.ingest()

    first = tick()
    assert isinstance(first, dg.SensorResult)
    assert [request.job_name for request in first.run_requests or ()] == ["publish_dlq_orders"]
    assert "does not answer" in skipped(tick(servers=nobody))
    metadata = publish()
    assert metadata["letters_published"] == 2
    assert metadata["cursor"] == 0
    assert len(read_letters(lake.dataset, bootstrap_servers=lake.servers)) == 2

    # Published: found out in Kafka once, and then known by the hint alone.
    second = tick(first.cursor)
    assert isinstance(second, dg.SensorResult)
    assert skipped(second) == "everything is published"
    assert skipped(tick(second.cursor, servers=nobody)) == "everything is published"
    # The hint lost, the same is found out again; a run that nobody needed changes nothing.
    assert skipped(tick()) == "everything is published"
    assert publish()["letters_published"] == 0

    send(lake.dataset.topic.name, lake.servers, [Record(b"c", b"{")])
    lake.ingest()
    third = tick(second.cursor)
    assert isinstance(third, dg.SensorResult)
    assert len(third.run_requests or ()) == 1
