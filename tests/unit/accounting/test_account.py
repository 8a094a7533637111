"""Every offset has one place; each kind of damage is found and named."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.accounting.latency import latency
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import write
from dagster_project.topics.broker import Topic
from tests.unit.lakes import CLUSTER, EPOCH, TOPIC_ID, Lake, Message, reading, tombstone


def of(lake: Lake, topic: Topic | None = None) -> Account:
    described = None if topic is None else lambda: topic
    return account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=described, bootstrap_servers="")


def places(found: Account) -> int:
    """All places of offsets; must add up to the offsets themselves."""
    return (
        found.silver_rows + found.superseded + found.quarantined + found.tombstones
        + found.gaps + found.lost + found.pending + found.held + found.unaccounted
    )  # fmt: skip


@pytest.fixture
def healthy(lake: Lake) -> Lake:
    """Two Silver rows, two superseded, one gated, one poison, two deletes, three gaps."""
    lake.arrive(reading(0, "a", at=1), reading(1, "a", at=3), reading(2, "b"), Message(offset=3, payload=b"{"))
    lake.arrive(reading(4, "c", level=-1), reading(5, "a", at=2), tombstone(6, "d", at=1), tombstone(7, "d", at=2))
    lake.arrive(reading(1, "z", region="us", partition=1), tombstone(9, "z", at=5), following={0: 12})
    lake.refine()
    lake.compute()
    return lake


def test_a_healthy_lake_accounts(healthy: Lake) -> None:
    found = of(healthy)
    assert found.accounted
    assert found.problems == ()
    assert (found.silver_rows, found.superseded, found.quarantined, found.tombstones) == (2, 3, 2, 3)
    # Offset 0 of Kafka partition 1; 8, 10 and 11 of Kafka partition 0.
    assert (found.gaps, found.unproven_gaps, found.pending, found.lost, found.unaccounted) == (4, 4, 0, 0, 0)
    assert (found.offsets, found.bronze_rows) == (14, 10)
    assert places(found) == found.offsets
    assert (found.gold_rows, found.gold_stale) == (1, 0)


def test_an_empty_lake_accounts(lake: Lake) -> None:
    found = of(lake)
    assert (found.accounted, found.offsets, found.bronze_rows) == (True, 0, 0)


def test_what_waits_is_pending(healthy: Lake) -> None:
    healthy.arrive(reading(12, "e"), tombstone(13, "b"), reading(14, "y", region="us"))
    found = of(healthy)
    assert (found.pending, found.accounted) == (3, True)
    assert places(found) == found.offsets
    healthy.refine()
    found = of(healthy)
    assert (found.pending, found.accounted) == (0, True)
    assert found.gold_stale == 2


def test_before_the_first_silver_run_all_is_pending_but_poison(lake: Lake) -> None:
    lake.arrive(reading(0), tombstone(1), Message(offset=2, payload=b""))
    found = of(lake)
    assert (found.pending, found.quarantined, found.accounted) == (2, 1, True)
    assert places(found) == found.offsets == 3


def test_one_version_from_two_kafka_partitions(lake: Lake) -> None:
    lake.arrive(reading(0, "a"), reading(0, "a", partition=1))
    lake.refine()
    found = of(lake)
    assert (found.problems, found.silver_rows, found.superseded) == ((), 1, 1)


def test_append_counts_copies_as_superseded(catalog: Catalog, tmp_path: Path) -> None:
    lake = Lake.at(tmp_path, catalog=catalog, write_mode="append", stable_partitions=True)
    lake.arrive(reading(0, "a", at=5), reading(1, "a", at=5))
    lake.refine()
    lake.arrive(reading(2, "a", at=5))
    lake.refine()
    found = of(lake)
    assert (found.accounted, found.silver_rows, found.superseded) == (True, 1, 2)


def remove_silver_row(lake: Lake) -> None:
    rows = lake.silver.rows().collect()
    lake.silver.commit(rows.filter(pl.col("id") != "b"), remove=lake.silver.files(), cursors={})


def double_silver_row(lake: Lake) -> None:
    lake.silver.commit(lake.silver.rows().filter(pl.col("id") == "b").collect(), cursors={})


def also_in_quarantine(lake: Lake) -> None:
    held = lake.quarantine.rows().head(1).collect()
    lake.quarantine.commit(held.with_columns(pl.lit(2, pl.Int64).alias("_kafka_offset")), cursors={})


def silver_from_nowhere(lake: Lake) -> None:
    row = lake.silver.rows().filter(pl.col("id") == "b").collect()
    lake.silver.commit(
        row.with_columns(pl.lit("n").alias("id"), pl.lit(99, pl.Int64).alias("_kafka_offset")), cursors={}
    )


def quarantine_from_nowhere(lake: Lake) -> None:
    held = lake.quarantine.rows().head(1).collect()
    lake.quarantine.commit(held.with_columns(pl.lit(99, pl.Int64).alias("_kafka_offset")), cursors={})


def drop_bronze_file(lake: Lake) -> None:
    lake.bronze.commit(
        lake.bronze.rows().head(0).collect(), remove=lake.bronze.files().filter(pl.col("region") == "us"), cursors={}
    )


def bronze_twice(lake: Lake) -> None:
    lake.bronze.commit(lake.bronze.rows().filter(pl.col("id") == "b").collect(), cursors={})


def beyond_the_cursor(lake: Lake) -> None:
    row = lake.bronze.rows().filter(pl.col("_kind") == "poison").collect()
    lake.bronze.commit(row.with_columns(pl.lit(77, pl.Int64).alias("_kafka_offset")), cursors={})


def older_version_won(lake: Lake) -> None:
    """Silver shows the version of offset 0 of key a, which offset 1 should have superseded."""
    rows = lake.silver.rows().collect()
    old = pl.col("id") == "a"
    at = dt.datetime(2026, 1, 1, 0, 1, tzinfo=dt.UTC)
    wrong = rows.with_columns(
        pl.when(old).then(0).otherwise("_kafka_offset").alias("_kafka_offset"),
        pl.when(old).then(pl.lit(at, pl.Datetime("us", "UTC"))).otherwise("at").alias("at"),
    )
    lake.silver.commit(wrong, remove=lake.silver.files(), cursors={})


# The damage, the problems that must be named, and how many offsets have no proven place: none where an offset has its
# place and something else has too much.
DAMAGE: list[tuple[Callable[[Lake], None], tuple[str, ...], int]] = [
    (remove_silver_row, ("1 offsets are neither in Silver, superseded, nor quarantined: 0/2",), 1),
    (double_silver_row, ("1 merge keys have more than one row in Silver",), 0),
    (also_in_quarantine, ("1 offsets are in more than one place: 0/2",), 1),
    (silver_from_nowhere, ("1 offsets are in silver, but not in Bronze: 0/99",), 0),
    (quarantine_from_nowhere, ("1 offsets are in quarantine, but not in Bronze: 0/99",), 0),
    (bronze_twice, ("1 offsets are in more than one place: 0/2",), 1),
    (beyond_the_cursor, ("1 offsets are in Bronze, but not below the cursor: 0/77",), 0),
    (older_version_won, ("2 offsets are neither in Silver, superseded, nor quarantined: 0/1, 0/5",), 2),
]


@pytest.mark.parametrize(
    ("damage", "problems", "unaccounted"), DAMAGE, ids=lambda value: getattr(value, "__name__", "")
)
def test_damage_is_found_and_named(
    healthy: Lake, damage: Callable[[Lake], None], problems: tuple[str, ...], unaccounted: int
) -> None:
    damage(healthy)
    found = of(healthy)
    assert not found.accounted
    assert found.problems == problems
    assert found.unaccounted == unaccounted


@pytest.mark.parametrize(
    "damage", [remove_silver_row, also_in_quarantine, older_version_won], ids=lambda value: value.__name__
)
def test_damaged_offsets_are_counted_with_the_others(healthy: Lake, damage: Callable[[Lake], None]) -> None:
    damage(healthy)
    found = of(healthy)
    assert places(found) == found.offsets


def test_a_lost_bronze_file_cannot_be_taken_for_gaps_without_a_word(healthy: Lake) -> None:
    before = of(healthy)
    drop_bronze_file(healthy)
    found = of(healthy)
    # Without the broker, an offset that Bronze lacks is a gap that nobody has proven.
    assert (found.gaps, found.unproven_gaps) == (before.gaps + 1, before.unproven_gaps + 1)
    # Where the row's own Silver copy is still there, it tells.
    lost = healthy.bronze.files().filter(pl.col("region") == "eu")
    healthy.bronze.commit(healthy.bronze.rows().head(0).collect(), remove=lost, cursors={})
    found = of(healthy)
    assert not found.accounted
    assert "2 offsets are in silver, but not in Bronze: 0/1-2" in found.problems
    assert "1 offsets are in quarantine, but not in Bronze: 0/4" in found.problems


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        # The older delete of the same key was overtaken by the one that is gone.
        ("d", "2 offsets are neither in Silver, superseded, nor quarantined: 0/6-7"),
        # So was the event.
        ("z", "2 offsets are neither in Silver, superseded, nor quarantined: 0/9, 1/1"),
    ],
)
def test_a_delete_that_silver_has_forgotten_is_named(healthy: Lake, key: str, problem: str) -> None:
    silver = healthy.silver
    silver.commit(silver.rows().filter(pl.col("id") != key).collect(), remove=silver.files(), cursors={})
    found = of(healthy)
    assert found.problems == (problem,)
    assert (found.unaccounted, found.accounted) == (2, False)
    assert places(found) == found.offsets


def test_a_delete_that_was_undone_in_silver_is_an_altered_value(healthy: Lake) -> None:
    silver = healthy.silver
    undone = pl.col("_deleted") & (pl.col("id") != "d")
    silver.commit(silver.rows().with_columns(_deleted=undone).collect(), remove=silver.files(), cursors={})
    found = account(
        healthy.dataset,
        catalog=healthy.catalog,
        storage=healthy.storage,
        topic=None,
        bootstrap_servers="",
        payloads=True,
    )
    assert found.problems == ("1 offsets are in silver with other values than their payloads have: 0/7",)


def test_a_topic_that_is_gone_is_a_problem(healthy: Lake) -> None:
    found = account(
        healthy.dataset,
        catalog=healthy.catalog,
        storage=healthy.storage,
        topic=lambda: None,
        bootstrap_servers="",
    )
    assert found.problems == (f"topic 'test.readings' does not exist; Bronze was read from id {TOPIC_ID}",)
    assert not found.accounted


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"topic_id": "other"}, "topic 'test.readings' has id other; Bronze was read from id AbC_d-9"),
        ({"end": {0: 5, 1: 2}}, "topic 'test.readings' ends before the cursor in partitions [0]"),
    ],
)
def test_a_topic_that_is_not_the_same_is_a_problem(healthy: Lake, changes: dict[str, object], problem: str) -> None:
    topic = Topic(name="test.readings", cluster_id=CLUSTER, topic_id=TOPIC_ID, first={0: 0, 1: 0}, end={0: 20, 1: 2})
    found = of(healthy, replace(topic, **changes))  # pyright: ignore[reportArgumentType] fields of a topic
    assert not found.accounted
    assert found.problems[0].startswith(problem)
    assert places(found) == found.offsets == 14


def test_a_ledger_of_another_topic_is_a_problem(healthy: Lake) -> None:
    other = Topic(name="test.readings", cluster_id=CLUSTER, topic_id="other", first={}, end={})
    ledger = Table.open(specs.ledger(healthy.dataset), storage=healthy.storage)
    write(ledger, other, [], batch_id=0, covered={0: 3})
    (problem,) = of(healthy).problems
    assert problem.startswith("ledger/readings was kept for topic id other")


def moment_of(folder: Path, version: int, seconds: float) -> None:
    """Have a commit say that it was made so many seconds after the first moment."""
    path = folder / "_delta_log" / f"{version:020d}.json"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if "commitInfo" in line:
            line["commitInfo"]["timestamp"] = int((EPOCH.timestamp() + seconds) * 1000)
    path.write_text("\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + "\n")


def test_latency_of_a_hand_made_example(lake: Lake) -> None:
    assert latency(lake.dataset, lake.mart, storage=lake.storage) is None
    sent = [0, 2, 4]
    for number, second in enumerate(sent):
        message = reading(number, f"k{number}", region="us" if number == 1 else "eu")
        lake.arrive(replace(message, sent=EPOCH + dt.timedelta(seconds=second)))
        lake.refine()
        if number != 1:
            lake.compute()
    gold = Path(lake.gold.uri)
    assert lake.gold.version == 2
    moment_of(gold, 1, 10.0)  # with the first event alone
    moment_of(gold, 2, 20.0)  # with the two others
    found = latency(lake.dataset, lake.mart, storage=lake.storage)
    assert found is not None
    # 10 - 0, 20 - 2 and 20 - 4 seconds.
    assert found.p50_s == 16.0
    assert found.p95_s == pytest.approx(17.8)
