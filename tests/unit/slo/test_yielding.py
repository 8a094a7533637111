"""Who makes room for whom, for how long, and that nobody waits for ever."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.contract.model import Catalog, Dataset, Priority
from dagster_project.ingest import bronze as ingesting
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors import bronze_changes, kafka_lag
from dagster_project.slo import yielding
from dagster_project.slo.yielding import MOST, pressed, reason_to_yield
from dagster_project.topics.broker import Topic
from tests.unit.lakes import CLUSTER, TOPIC_ID, Lake, reading
from tests.unit.protocol.topic import ModelTopic


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def another(dataset: Dataset, name: str, priority: Priority) -> Dataset:
    return replace(dataset, name=name, priority=priority, topic=replace(dataset.topic, name=f"test.{name}"))


def of(lake: Lake, priority: Priority, other: Priority) -> Catalog:
    """The lake's own dataset, and one called `vip`."""
    own = replace(lake.dataset, priority=priority)
    return replace(lake.catalog, datasets=(own, another(lake.dataset, "vip", other)))


def burns(lake: Lake, objective: str = "lag_seconds", *, value: float = 999.0, bad: int = 9, ago_s: float = 20) -> None:
    """Two measurements, six minutes apart: what has just begun burns nothing yet."""
    spec = specs.measurements()
    newest = now() - dt.timedelta(seconds=ago_s)
    rows = [
        {"at": at, "dataset": "vip", "region": None, "objective": objective, "value": value, "bound": 300.0,
         "good": 9, "bad": bad, "event_date": at.date()}
        for at in (newest - dt.timedelta(minutes=6), newest)
    ]  # fmt: skip
    Table.open(spec, storage=lake.storage).commit(pl.DataFrame(rows, schema=dict(spec.schema)), cursors={})


def names(lake: Lake, catalog: Catalog) -> list[tuple[str, str]]:
    return [(one.dataset.name, one.objective) for one in pressed(catalog, storage=lake.storage, now=now())]


def test_nothing_measured_presses_nobody(lake: Lake) -> None:
    assert names(lake, of(lake, "low", "high")) == []


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({}, [("vip", "lag_seconds")]),
        ({"objective": "latency_p99", "bad": 18}, [("vip", "latency_p99")]),
        ({"bad": 0}, []),  # nothing burns
        ({"value": 10.0}, []),  # it was behind, and is not any more
        ({"ago_s": 150}, []),  # nobody has measured since
        ({"objective": "completeness"}, []),  # which is not mended by more of the machine
    ],
)
def test_who_is_behind_and_burns(lake: Lake, measured: dict[str, object], expected: list[tuple[str, str]]) -> None:
    burns(lake, **measured)  # pyright: ignore[reportArgumentType] as the cases have them
    assert names(lake, of(lake, "low", "high")) == expected


def test_measurements_are_judged_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = of(lake, "low", "high")
    burns(lake)
    assert names(lake, catalog) != []
    monkeypatch.setattr(yielding, "status", lambda *_, **__: pytest.fail("again"))
    assert names(lake, catalog) != []


def test_measurements_that_cannot_be_read_stop_nothing(lake: Lake) -> None:
    burns(lake)
    table = Table.find(specs.measurements(), storage=lake.storage)
    assert table is not None
    table.filesystem.pipe_file(f"{table.uri}/_delta_log/{table.version + 1:020d}.json", b"{")
    assert names(lake, of(lake, "low", "high")) == []


@pytest.mark.parametrize(
    ("own", "other", "waits"),
    [
        ("low", "normal", True),
        ("low", "high", True),
        ("normal", "high", True),
        ("low", "low", False),
        ("high", "high", False),
        ("high", "low", False),
    ],
)
def test_the_less_important_one_waits(lake: Lake, own: Priority, other: Priority, waits: bool) -> None:
    lake.arrive(reading(0))
    burns(lake)
    catalog = of(lake, own, other)
    others = pressed(catalog, storage=lake.storage, now=now())
    reason = reason_to_yield(catalog.datasets[:1], others, lake.bronze, now=now())
    assert (reason is not None) == waits
    # What is for the more important one, too, does not wait.
    assert reason_to_yield(catalog.datasets, others, lake.bronze, now=now()) is None


def test_nobody_waits_for_ever(lake: Lake) -> None:
    lake.arrive(reading(0))
    burns(lake)
    catalog = of(lake, "low", "high")
    others, own = pressed(catalog, storage=lake.storage, now=now()), catalog.datasets[:1]
    at = lake.bronze.committed_at()
    assert reason_to_yield(own, others, lake.bronze, now=at + MOST - dt.timedelta(seconds=3)) == (
        "makes room for vip, which burns its budget of lag_seconds, for 3 s at most"
    )
    assert reason_to_yield(own, others, lake.bronze, now=at + MOST) is None
    assert reason_to_yield(own, others, None, now=at) is None  # what was never read has waited for long enough


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def launched(
    lake: Lake, sensor: dg.SensorDefinition, instance: dg.DagsterInstance
) -> tuple[dict[str | None, dict[str, str]], str]:
    """Tags of what is launched, by job, and why the rest is not."""
    resources = {"lake": LakeResource(uri=lake.storage.uri), "kafka": KafkaResource(servers="broker:1")}
    found = sensor(dg.build_sensor_context(instance, resources=resources))
    if isinstance(found, dg.SkipReason):
        return {}, found.skip_message or ""
    assert isinstance(found, dg.SensorResult)
    return {request.job_name: dict(request.tags) for request in found.run_requests or ()}, ""


def test_both_sensors_let_it_wait_and_then_have_its_turn(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = of(lake, "low", "high")
    lake.arrive(reading(0))
    lake.refine()
    lake.compute()
    lake.arrive(reading(1, "b"))
    topics = {
        dataset.topic.name: Topic(
            name=dataset.topic.name, cluster_id=CLUSTER, topic_id=TOPIC_ID, first={0: 0}, end={0: 9}
        )
        for dataset in catalog.datasets
    }
    monkeypatch.setattr(kafka_lag, "survey", lambda *_: topics)
    jobs = [dg.define_asset_job(name) for name in ("ingest_readings", "ingest_vip", "refine_readings")]
    lag = kafka_lag.kafka_lag_sensor(catalog, jobs=jobs)
    alone = replace(catalog, datasets=catalog.datasets[:1])
    changes = bronze_changes.bronze_changes_sensor(alone, jobs=jobs)
    monkeypatch.setattr(bronze_changes, "pressed", lambda _, **named: pressed(catalog, **named))

    assert set(launched(lake, lag, instance)[0]) == {"ingest_readings", "ingest_vip"}
    assert set(launched(lake, changes, instance)[0]) == {"refine_readings"}

    burns(lake)
    ((job, tags),) = launched(lake, lag, instance)[0].items()
    assert (job, "lakehouse/turn_seconds" in tags) == ("ingest_vip", False)
    requests, why = launched(lake, changes, instance)
    assert requests == {}
    assert "refine_readings makes room for vip" in why

    monkeypatch.setattr(yielding, "MOST", dt.timedelta(0))
    found = launched(lake, lag, instance)[0]
    assert found["ingest_readings"]["lakehouse/turn_seconds"] == "60"
    assert "lakehouse/turn_seconds" not in found["ingest_vip"]
    assert launched(lake, changes, instance)[0]["refine_readings"]["lakehouse/turn_seconds"] == "60"


def test_the_queue_and_the_ui_know_how_important_a_run_is(lake: Lake, tmp_path: Path) -> None:
    from dagster_project.assets.catch_up import catch_up_job
    from dagster_project.assets.priority import priority_tags

    low, high = of(lake, "low", "high").datasets
    assert catch_up_job(low, catalog=lake.catalog, home=tmp_path).tags["dagster/priority"] == "-10"
    assert priority_tags([low, high]) == {"lakehouse/priority": "high", "dagster/priority": "10"}
    assert priority_tags([]) == {"lakehouse/priority": "normal", "dagster/priority": "0"}


@pytest.mark.parametrize(("messages", "growth", "largest"), [(60, 1, 2), (10, 2, 2), (60, 2, 4), (80, 4, 8)])
def test_batches_grow_with_the_backlog_within_limits(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, messages: int, growth: int, largest: int
) -> None:
    """Read by threads, as in a run; every message is there once, and the cursor ends at the end."""
    topic = ModelTopic(name=lake.dataset.topic.name, logs=[[], []])
    topic.logs[0] += [reading(number, f"k{number}") for number in range(messages)]
    monkeypatch.setattr(ingesting, "Broker", topic.as_broker())
    monkeypatch.setattr(ingesting, "reading", topic.reading)
    monkeypatch.setattr(ingesting, "publish_offsets", lambda **_: None)
    monkeypatch.setattr(ingesting, "record_gaps", lambda *_, **__: None)
    batches = list(
        ingesting.ingest(
            lake.dataset,
            bootstrap_servers="",
            storage=lake.storage,
            limits=Limits(rows=2, growth=growth),
            seconds=3600,
            warn=pytest.fail,
        )
    )
    found = [batch.events for batch in batches]
    assert max(found) == largest
    # Small while little is left, as at the beginning, when nobody knew; only the last one may be what was left over.
    assert set(found[-4:-1]) | {found[0]} == {2}
    rows = lake.bronze.rows().select("_kafka_offset", "_batch_id").collect().sort("_kafka_offset")
    assert rows["_kafka_offset"].to_list() == list(range(messages))
    assert rows["_batch_id"].is_sorted()


def test_a_batch_is_as_large_as_the_lag_says() -> None:
    limits = Limits(rows=100, bytes=1000, growth=3)
    assert [limits.behind(lag).rows for lag in (0, 799, 800, 1199, 1200, 10**9)] == [100, 100, 200, 200, 300, 300]
    assert limits.behind(10**9).bytes == 3000
    assert Limits(rows=100).behind(10**9) == Limits(rows=100)
