"""Several runs of one topic: launched by lag and plan alone, one for each shard, whatever was launched before."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.test_utils import create_run_for_test

from dagster_project.assets.bronze import bronze_asset
from dagster_project.assets.shards import SHARD_TAG, shard_of
from dagster_project.errors import ConfigurationError
from dagster_project.ingest.shards import WHOLE
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors import alerts, kafka_lag
from dagster_project.settings import REPOSITORY
from dagster_project.topics.broker import Topic
from tests.unit.lakes import CLUSTER, TOPIC_ID, Lake, reading

JOB = "ingest_readings"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> dict[int, int]:
    """By Kafka partition, where the topic ends; all of it is unread."""
    found = {0: 5, 1: 3, 2: 4}

    def survey(*_: object) -> Mapping[str, Topic]:
        name = lake.dataset.topic.name
        first = dict.fromkeys(found, 0)
        return {name: Topic(name=name, cluster_id=CLUSTER, topic_id=TOPIC_ID, first=first, end=found)}

    monkeypatch.setattr(kafka_lag, "survey", survey)
    return found


def launched(lake: Lake, instance: dg.DagsterInstance, *, shards: int) -> dict[str, str]:
    """Of one tick: lag by shard, that runs are launched for."""
    catalog = replace(lake.catalog, datasets=(replace(lake.dataset, shards=shards),))
    sensor = kafka_lag.kafka_lag_sensor(catalog, jobs=[dg.define_asset_job(JOB)])
    resources = {"lake": LakeResource(uri=lake.storage.uri), "kafka": KafkaResource(servers="broker:1")}
    found = sensor(dg.build_sensor_context(instance, resources=resources))
    if isinstance(found, dg.SkipReason):
        return {}
    assert isinstance(found, dg.SensorResult)
    requests = list(found.run_requests or ())
    assert {request.job_name for request in requests} == {JOB}
    tags = [request.tags for request in requests]
    return {own.get(SHARD_TAG, "all"): own["lakehouse/lag"] for own in tags}


def run(
    instance: dg.DagsterInstance, shard: str = "", status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED
) -> dg.DagsterRun:
    tags = {SHARD_TAG: f"{JOB} {shard}"} if shard else {}
    made = create_run_for_test(instance, job_name=JOB, status=dg.DagsterRunStatus.STARTED, tags=tags)
    if status == dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(made)
    elif status == dg.DagsterRunStatus.SUCCESS:
        ended = dg.DagsterEvent(event_type_value=dg.DagsterEventType.RUN_SUCCESS.value, job_name=JOB)
        instance.report_dagster_event(ended, run_id=made.run_id)
    return made


def test_each_shard_with_lag_has_a_run(lake: Lake, instance: dg.DagsterInstance, ends: dict[int, int]) -> None:
    assert launched(lake, instance, shards=1) == {"all": "12"}
    assert launched(lake, instance, shards=2) == {f"{JOB} 0/2": "9", f"{JOB} 1/2": "3"}
    assert launched(lake, instance, shards=2) == {f"{JOB} 0/2": "9", f"{JOB} 1/2": "3"}, "a tick may be lost or doubled"
    ends[1] = 0
    assert launched(lake, instance, shards=3) == {f"{JOB} 0/3": "5", f"{JOB} 2/3": "4"}
    ends[3] = 2  # the topic has grown
    assert launched(lake, instance, shards=2) == {f"{JOB} 0/2": "9", f"{JOB} 1/2": "2"}
    lake.arrive(*(reading(offset, f"{partition}/{offset}", partition=partition) for partition in (0, 2)
                  for offset in range(4)))  # fmt: skip
    assert launched(lake, instance, shards=2) == {f"{JOB} 0/2": "1", f"{JOB} 1/2": "2"}


@pytest.mark.parametrize(
    ("running", "shards", "expected"),
    [
        ("", 2, []),  # all of the topic
        ("0/2", 2, ["1/2"]),
        ("0/2", 1, []),
        ("1/3", 2, []),  # of an old plan: it may read what any of the new ones would
        ("1/4", 2, ["0/2"]),
        ("0/1/2", 2, []),  # no shard: it fails, and says so
    ],
)
def test_what_a_run_reads_is_left_to_it_also_when_the_plan_has_changed(
    lake: Lake, instance: dg.DagsterInstance, ends: dict[int, int], running: str, shards: int, expected: list[str]
) -> None:
    assert ends
    run(instance, running)
    assert list(launched(lake, instance, shards=shards)) == [f"{JOB} {shard}" for shard in expected]


def test_a_shard_that_fails_waits_alone(
    lake: Lake, instance: dg.DagsterInstance, ends: dict[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ends
    for _ in range(3):
        run(instance, "0/2", dg.DagsterRunStatus.FAILURE)
    assert list(launched(lake, instance, shards=2)) == [f"{JOB} 1/2"]
    run(instance, "1/2", dg.DagsterRunStatus.SUCCESS)
    assert list(launched(lake, instance, shards=2)) == [f"{JOB} 1/2"], "another one's success is not its own"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    assert list(launched(lake, instance, shards=2)) == [f"{JOB} 0/2", f"{JOB} 1/2"]


def test_what_stops_all_of_them_is_told_once(lake: Lake, instance: dg.DagsterInstance, ends: dict[int, int]) -> None:
    lake.arrive(reading(0))
    ends[0] = 0  # ends before the cursor
    assert launched(lake, instance, shards=3) == {f"{JOB} 0/3": "unknown"}


def test_a_failing_shard_is_told_of_while_the_others_succeed(lake: Lake, instance: dg.DagsterInstance) -> None:
    jobs = {JOB: ("readings", "ingest")}

    def failed() -> list[str]:
        found = alerts._failed(instance, jobs, since=alerts._now() - alerts._BACK)
        return [one.run_id for one in found]

    broken = run(instance, "0/2", dg.DagsterRunStatus.FAILURE)
    run(instance, "1/2", dg.DagsterRunStatus.FAILURE)
    run(instance, "1/2", dg.DagsterRunStatus.SUCCESS)
    assert failed() == [broken.run_id]
    run(instance, "2/3", dg.DagsterRunStatus.SUCCESS)  # by another plan
    assert failed() == []


def test_one_run_for_each_shard_and_else_one_for_each_table(lake: Lake, tmp_path: Path) -> None:
    (one, several) = (
        bronze_asset(replace(lake.dataset, shards=count), uri=lake.storage.uri, home=tmp_path) for count in (1, 2)
    )
    assert (one.op.pool, several.op.pool) == ("bronze_readings", None)
    config = yaml.safe_load((REPOSITORY / "deploy" / "dagster.yaml").read_text(encoding="utf-8"))
    (limit,) = config["concurrency"]["runs"]["tag_concurrency_limits"]
    assert limit == {"key": SHARD_TAG, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}


def test_a_run_without_a_tag_reads_all(instance: dg.DagsterInstance) -> None:
    assert shard_of(run(instance)) == WHOLE
    assert str(shard_of(run(instance, "1/3"))) == "1/3"
    with pytest.raises(ConfigurationError, match="is no shard"):
        shard_of(run(instance, "3/3"))
