"""A topic that several runs read at once: every offset once, the tables that one run makes, and one winner where plans meet."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from dagster_project.accounting.account import account
from dagster_project.assets import bronze as assets
from dagster_project.assets.shards import SHARD_TAG
from dagster_project.definitions import build
from dagster_project.errors import OffsetLossError
from dagster_project.ingest.cursor import BATCH, Cursor
from dagster_project.ingest.shards import Shard, shards
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.topics.broker import Broker
from tests.integration.fencing.scene import Scene, new_scene, told
from tests.integration.lake import PATIENCE, PLACE
from tests.unit import lakes

EVENTS = 1_500
# What says when and in which batch a row came, and not what it is.
_OF_A_BATCH = ("_batch_id", "_quarantined_at")


@pytest.fixture
def scene(broker: str, tmp_path: Path) -> Iterator[Scene]:
    with new_scene(broker, tmp_path, partitions=6) as made:
        yield made


def spoil(scene: Scene) -> None:
    """Some deletes, some poison, and rows that break a rule: over all Kafka partitions."""
    producer = Producer({"bootstrap.servers": scene.servers, "log_level": 0})
    for number in range(0, EVENTS, 50):
        spoilt: list[tuple[str, bytes | None]] = [(f"k{number}", None), (f"k{number + 1}", b"?")]
        if number % 150 == 0:  # few enough for the breaker
            spoilt.append((f"bad{number}", lakes.reading(0, f"bad{number}", level=-1).payload))
        for key, value in spoilt:
            producer.produce(scene.dataset.topic.name, value, key, on_delivery=scene.delivered)
    producer.flush(PATIENCE)


def numbers(scene: Scene) -> list[int]:
    """Batch ids in the order in which they became visible."""
    bronze = scene.bronze()
    return [commit.cursors[BATCH] for commit in bronze.commits(bronze.first_commit()) if BATCH in commit.cursors]


def partitions_of_batches(scene: Scene) -> dict[int, set[int]]:
    rows = scene.bronze().rows().select("_batch_id", "_kafka_partition").unique().collect()
    found: dict[int, set[int]] = {}
    for batch, partition in rows.iter_rows():
        found.setdefault(batch, set()).add(partition)
    return found


def contents(scene: Scene) -> dict[str, pl.DataFrame]:
    """All tables behind Bronze, as far as they do not depend on how it was cut into batches."""
    lake = scene.lake()
    found = {
        name: table.rows().drop(*_OF_A_BATCH, strict=False).collect()
        for name, table in (("silver", lake.silver), ("quarantine", lake.quarantine), ("gold", lake.gold))
    }
    order = (*PLACE, *specs.KEYS)
    return {name: rows.sort([column for column in order if column in rows.columns]) for name, rows in found.items()}


def read_by_one(scene: Scene) -> Scene:
    """The same topic in a lake of its own, read by one run."""
    other = replace(scene, storage=Storage.at(f"{scene.storage.uri}-of-one"), processes=[])
    other.ingest()
    other.lake().refine()
    other.lake().compute()
    return other


def finish(scene: Scene, plan: Sequence[Shard]) -> None:
    for shard in plan:
        scene.ingest(shard=shard)


def check_accounts(scene: Scene) -> None:
    found = account(
        scene.dataset,
        catalog=scene.catalog,
        storage=scene.storage,
        bootstrap_servers=scene.servers,
        topic=lambda: Broker(scene.servers).topic(scene.dataset.topic.name),
    )
    assert found.problems == ()
    assert (found.unaccounted, found.pending, found.offsets) == (0, 0, len(scene.sent))


@pytest.mark.parametrize("count", [2, 3])
def test_shards_that_read_at_once_make_the_tables_that_one_run_makes(scene: Scene, count: int) -> None:
    scene.produce(EVENTS)
    spoil(scene)
    scene.produce(EVENTS // 2)  # once more: duplicates
    # All know under which id they will write before any of them has written.
    processes = [scene.start("ingest", wait_at="numbered", shard=shard) for shard in shards(count)]
    scene.await_signs(count)
    scene.go()
    # Silver follows meanwhile, batch by batch: what became visible behind its back it would never read.
    while any(process.poll() is None for process in processes):
        if scene.lake().tables()[f"bronze/{scene.dataset.name}"] is not None:
            scene.lake().refine()
    assert [told(process)["error"] for process in processes] == [None] * count
    scene.lake().refine()
    scene.lake().compute()

    scene.check_bronze()
    order = numbers(scene)
    assert all(former < latter for former, latter in pairwise(order)), "batches became visible out of order"
    of_batches = partitions_of_batches(scene)
    assert of_batches.keys() <= set(order)
    assert all(len({partition % count for partition in own}) == 1 for own in of_batches.values())
    for name, expected in contents(read_by_one(scene)).items():
        assert contents(scene)[name].equals(expected), f"{name} is another one"
    check_accounts(scene)


@pytest.mark.parametrize("count", [2, 3])
def test_of_runs_of_one_shard_one_writes(scene: Scene, count: int) -> None:
    scene.produce(EVENTS)
    (shard, other) = shards(2)
    scene.ingest(shard=other)
    batches = len(partitions_of_batches(scene))
    processes = [scene.start("ingest", wait_at="numbered", shard=shard) for _ in range(count)]
    scene.await_signs(count)
    scene.go()
    results = [told(process) for process in processes]
    assert sorted(str(result["error"]) for result in results) == ["None", *["StaleCursorError"] * (count - 1)]
    assert sum(result["done"] for result in results) == len(partitions_of_batches(scene)) - batches
    scene.check_bronze()


def test_a_shard_that_is_killed_with_a_batch_in_its_hands_is_read_on_and_the_others_go_on(scene: Scene) -> None:
    scene.produce(EVENTS)
    first, second = shards(2)
    killed = scene.start("ingest", wait_at="numbered", shard=first)
    scene.await_signs(1)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait(PATIENCE) == -signal.SIGKILL
    scene.ingest(shard=second)
    assert {p for own in partitions_of_batches(scene).values() for p in own} == {1, 3, 5}
    scene.ingest(shard=first)
    scene.check_bronze()
    scene.lake().refine()
    check_accounts(scene)


@pytest.mark.parametrize(("old", "new"), [("0/1", "0/2"), ("0/2", "2/3"), ("0/3", "0/1")])
def test_of_an_old_plan_and_a_new_one_exactly_one_wins(scene: Scene, old: str, new: str) -> None:
    scene.produce(EVENTS)
    late = scene.start("ingest", wait_at="numbered", shard=Shard.parse(old))
    scene.await_signs(1)
    scene.ingest(shard=Shard.parse(new))
    version = scene.bronze().version
    scene.go()
    assert told(late)["error"] == "StaleCursorError"
    assert scene.bronze().version == version
    finish(scene, shards(Shard.parse(new).of))
    scene.check_bronze()


def test_shards_of_two_plans_without_a_kafka_partition_in_common_both_write(scene: Scene) -> None:
    scene.produce(EVENTS)
    scene.ingest(shard=Shard.parse("3/4"))
    late = scene.start("ingest", wait_at="numbered", shard=Shard.parse("0/2"))
    scene.await_signs(1)
    scene.ingest(shard=Shard.parse("1/4"))
    scene.go()
    assert told(late)["error"] is None
    scene.check_bronze()


def test_kafka_partitions_that_come_while_shards_are_read(scene: Scene) -> None:
    scene.produce(EVENTS)
    name = scene.dataset.topic.name
    admin = AdminClient({"bootstrap.servers": scene.servers, "log_level": 0})
    running = [scene.start("ingest", wait_at="fetched", shard=shard) for shard in shards(2)]
    scene.await_signs(2)
    admin.create_partitions([NewPartitions(name, 9)])[name].result(PATIENCE)
    while len({partition for partition, _ in scene.sent}) < 9:
        scene.produce(100, first=EVENTS)
    scene.go()
    assert [told(process)["error"] for process in running] == [None, None]  # they know six Kafka partitions
    finish(scene, shards(2))
    cursor = Cursor.from_table(scene.bronze().cursors())
    assert cursor is not None
    assert dict(cursor.start) == dict.fromkeys(range(9), 0)
    scene.check_bronze()


def test_what_retention_deletes_before_a_shard_was_ever_read_is_no_secret(scene: Scene) -> None:
    scene.produce(EVENTS)
    first, second = shards(2)
    scene.ingest(shard=first)
    place = TopicPartition(scene.dataset.topic.name, 1, 10)
    admin = AdminClient({"bootstrap.servers": scene.servers, "log_level": 0})
    admin.delete_records([place])[place].result(PATIENCE)
    with pytest.raises(OffsetLossError, match="partition 1: 0 to 9"):
        scene.ingest(shard=second)


def test_a_shard_of_a_topic_with_fewer_kafka_partitions_has_nothing_to_do(scene: Scene) -> None:
    scene.produce(100)
    assert [batch.events for batch in scene.ingest(shard=Shard.parse("7/8"))] == [0]  # where the topic begins
    assert scene.ingest(shard=Shard.parse("6/8")) == []


def test_a_run_of_dagster_reads_the_shard_that_its_tag_names(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.produce(300)
    settings = Settings(
        home=scene.folder, project=REPOSITORY, lake_uri=scene.storage.uri, bootstrap_servers=scene.servers
    )
    catalog = replace(scene.catalog, datasets=(replace(scene.dataset, shards=2),))
    job = build(catalog, settings).resolve_job_def("ingest_readings")
    monkeypatch.setattr(assets, "IDLE_SECONDS", 0.0)
    for shard, partitions in (("1/2", {1, 3, 5}), ("0/2", {0, 1, 2, 3, 4, 5})):
        with dg.DagsterInstance.ephemeral() as instance:
            assert job.execute_in_process(instance=instance, tags={SHARD_TAG: f"ingest_readings {shard}"}).success
        assert {partition for own in partitions_of_batches(scene).values() for partition in own} == partitions
    scene.check_bronze()
