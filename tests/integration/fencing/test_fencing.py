"""However many runs there are, one writes each batch; the others end with a clear error and leave nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer
from confluent_kafka.admin import AdminClient, NewPartitions

from dagster_project.contract.loader import load_catalog
from dagster_project.ingest import bronze as ingesting
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.staleness import pending_gold
from tests import hostile
from tests.integration.fencing.scene import EVENTS, LEVEL, Scene, new_scene, told
from tests.integration.lake import PATIENCE, unique
from tests.unit import lakes


@pytest.fixture
def scene(broker: str, tmp_path: Path) -> Iterator[Scene]:
    with new_scene(broker, tmp_path) as made:
        yield made


@pytest.mark.parametrize("count", [2, 3])
def test_of_ingests_at_once_one_writes(scene: Scene, count: int) -> None:
    scene.produce(EVENTS)
    processes = [scene.start("ingest", wait_at="fetched") for _ in range(count)]
    scene.await_signs(count)
    scene.go()
    results = [told(process) for process in processes]
    errors = sorted(str(result["error"]) for result in results)
    assert errors == ["None", *["StaleCursorError"] * (count - 1)]
    batches = scene.bronze().rows().select("_batch_id").collect()["_batch_id"].n_unique()
    assert sum(result["done"] for result in results) == batches
    scene.check_bronze()


def test_a_zombie_that_wakes_up_after_another_run_changes_nothing(scene: Scene) -> None:
    scene.produce(EVENTS)
    zombie = scene.start("ingest", wait_at="fetched")
    scene.await_signs(1)
    os.kill(zombie.pid, signal.SIGSTOP)
    scene.ingest()
    version = scene.bronze().version
    scene.go()
    os.kill(zombie.pid, signal.SIGCONT)
    assert told(zombie) == {"done": 0, "error": "StaleCursorError", "warnings": []}
    assert scene.bronze().version == version
    scene.check_bronze()


@pytest.mark.parametrize("count", [2, 3])
def test_of_refines_and_of_computes_at_once_one_writes(scene: Scene, count: int) -> None:
    scene.produce(EVENTS)
    scene.ingest()
    for what, moment in (("refine", "judged"), ("compute", "computed")):
        if what == "refine":
            Table.open(specs.silver(scene.dataset), storage=scene.storage)  # so that none of them has to make it
        else:
            Table.open(specs.gold(scene.catalog.marts[0]), storage=scene.storage)
        processes = [scene.start(what, wait_at=moment) for _ in range(count)]
        scene.await_signs(count)
        scene.go()
        errors = sorted(str(told(process)["error"]) for process in processes)
        assert errors == ["None", *["StaleCursorError"] * (count - 1)]
        for sign in scene.signs.iterdir():
            sign.unlink()
        scene.processes.clear()
    found = scene.lake().tables()
    assert pending_silver(scene.dataset, found) == []
    assert pending_gold(scene.catalog.marts[0], found, catalog=scene.catalog) == []
    silver = scene.table(specs.silver(scene.dataset)).rows().collect()
    assert sorted(silver["id"]) == sorted(f"k{number}" for number in range(EVENTS))
    gold = scene.table(specs.gold(scene.catalog.marts[0])).rows().collect()
    assert (len(gold), gold["readings"].sum(), gold["total"].sum()) == (6, EVENTS, EVENTS * LEVEL)


@pytest.mark.parametrize("error", [OSError, FileExistsError])
def test_on_s3_a_run_goes_on_when_the_answer_to_its_commit_was_lost(
    scene: Scene, s3: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    commits = 0

    create = Storage.create

    def lossy(storage: Storage, path: str, content: bytes) -> None:
        nonlocal commits
        create(storage, path, content)
        commits += 1
        raise error("the answer was lost")

    monkeypatch.setattr(Storage, "create", lossy)
    scene.storage = Storage.at(f"{s3}/{unique('fencing')}")
    scene.produce(EVENTS)
    batches = scene.ingest()
    assert len(batches) == commits > 1
    scene.lake().refine()
    scene.check_bronze()
    assert len(scene.table(specs.silver(scene.dataset)).rows().collect()) == EVENTS


def published(scene: Scene) -> dict[int, int]:
    """Offsets of the group, as Kafka's own tools see them."""
    admin = AdminClient({"bootstrap.servers": scene.servers, "log_level": 0})
    group = f"lakehouse-{scene.dataset.name}"
    answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(PATIENCE)
    own = [item for item in answer.topic_partitions if item.topic == scene.dataset.topic.name]
    return {item.partition: item.offset for item in own if item.offset >= 0}


def test_group_offsets_follow_the_commit(scene: Scene) -> None:
    scene.produce(EVENTS)
    run = ingest(
        scene.dataset,
        bootstrap_servers=scene.servers,
        storage=scene.storage,
        limits=Limits(rows=EVENTS // 4),
        seconds=PATIENCE,
        warn=pytest.fail,
    )
    next(run)
    assert published(scene) == {}
    assert len(list(run)) > 0
    cursor = Cursor.from_table(scene.bronze().cursors())
    assert cursor is not None
    assert published(scene) == cursor.next


def test_offsets_that_cannot_be_published_are_a_warning(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ingesting.publish_offsets

    def unknown_topic(**options: Any) -> str | None:
        options["topic"] = "no such topic"
        return real(**options)

    monkeypatch.setattr(ingesting, "publish_offsets", unknown_topic)
    scene.produce(100)
    warnings: list[str] = []
    assert len(scene.ingest(warn=warnings.append)) == 1
    (warning,) = [text for text in warnings if "were not published" in text]
    assert warning.startswith(f"offsets of group lakehouse-{scene.dataset.name}")
    scene.check_bronze()


def test_new_kafka_partitions_are_read_from_their_first_offset(scene: Scene) -> None:
    scene.produce(EVENTS)
    name = scene.dataset.topic.name
    admin = AdminClient({"bootstrap.servers": scene.servers, "log_level": 0})
    run = ingest(
        scene.dataset,
        bootstrap_servers=scene.servers,
        storage=scene.storage,
        limits=Limits(rows=EVENTS // 4),
        seconds=PATIENCE,
        warn=pytest.fail,
    )
    next(run)
    admin.create_partitions([NewPartitions(name, 12)])[name].result(PATIENCE)
    scene.produce(EVENTS, first=EVENTS)
    list(run)  # knows four Kafka partitions, and no harm comes of it
    deadline = time.monotonic() + PATIENCE
    while len({partition for partition, _ in scene.sent}) < 12:
        assert time.monotonic() < deadline
        scene.produce(100, first=3 * EVENTS)
    scene.ingest()
    cursor = Cursor.from_table(scene.bronze().cursors())
    assert cursor is not None
    assert dict(cursor.start) == dict.fromkeys(range(12), 0)
    scene.check_bronze()


def test_hostile_messages_go_through_the_broker(scene: Scene) -> None:
    contract = hostile.CONTRACT.replace("test.probes", scene.dataset.topic.name)
    catalog = load_catalog(lakes.write_project(scene.folder / "probes", {"probes.odcs.yaml": contract}))
    scene.catalog = catalog
    producer = Producer({"bootstrap.servers": scene.servers, "log_level": 0, "message.max.bytes": 1_000_000})
    records = [r for r in hostile.records(seed=2, count=2_000) if r.content is None or len(r.content) < 900_000]
    places: dict[tuple[int, int], hostile.Record] = {}

    def noting(record: hostile.Record) -> Callable[[object, Any], None]:
        def delivered(error: object, message: Any) -> None:
            assert error is None
            places[message.partition(), message.offset()] = record

        return delivered

    for record in records:
        producer.produce(
            scene.dataset.topic.name,
            record.content,
            record.name,
            headers=[*(record.fields or [])],
            timestamp=record.sent_ms,
            on_delivery=noting(record),
        )
        producer.poll(0)
    producer.flush(PATIENCE)
    scene.sent = list(places)
    scene.ingest(rows=333)
    scene.check_bronze()
    rows = scene.bronze().rows().collect().to_dicts()
    for row in rows:
        record = places[row["_kafka_partition"], row["_kafka_offset"]]
        assert (row["_payload"], row["_key"]) == (record.content, record.name)
        assert [(entry["key"], entry["value"]) for entry in row["_headers"]] == (record.fields or [])
        assert (row["_kind"] == specs.POISON) == bool(row["_error"])
        if record.good is not None:
            assert {name: row[name] for name in record.good} == record.good
    lake = scene.lake()
    lake.refine()
    silver = lake.silver.rows().filter(~pl.col("_deleted")).collect()
    lawful = {r.good["id"] for r in records if r.good is not None and (r.good["level"] or 0) >= 0}
    assert lawful <= set(silver["id"])
