"""What is measured, of a lake whose every event is known by hand."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from dagster_project.errors import KafkaError, StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.slo import measure as measuring
from dagster_project.slo.begun import begun
from dagster_project.slo.measure import measure
from dagster_project.slo.status import status
from tests.unit.lakes import EPOCH, Lake, Message, reading, tombstone

HOUR = dt.timedelta(hours=1)


def no_broker() -> str:
    raise KafkaError("there is none")


def look(lake: Lake, now: dt.datetime) -> dict[tuple[str, str | None], tuple[float | None, int, int]]:
    """Measure; by objective and region what was written: value, good, bad."""
    done = measure(lake.catalog, storage=lake.storage, bootstrap=no_broker, now=now)
    assert done is not None
    assert done.problems == []
    rows = records(lake).filter(pl.col("at") == now)
    found = {(row["objective"], row["region"]): (row["value"], row["good"], row["bad"]) for row in rows.to_dicts()}
    assert len(found) == len(rows) == len(done.measurements)
    return found


def records(lake: Lake) -> pl.DataFrame:
    table = Table.find(specs.measurements(), storage=lake.storage)
    assert table is not None
    return table.rows().collect()


def shown_ago(table: Table, ago: dt.timedelta) -> None:
    """Have the newest commit of a table be made so long ago."""
    path = f"{table.uri}/_delta_log/{table.version:020d}.json"
    lines = [json.loads(line) for line in str(table.filesystem.read_text(path)).splitlines()]
    lines[0]["commitInfo"]["timestamp"] -= int(ago.total_seconds() * 1000)
    table.filesystem.pipe_file(path, "\n".join(map(json.dumps, lines)).encode())


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def sent(message: Message, ago_s: float) -> Message:
    return replace(message, sent=now() - dt.timedelta(seconds=ago_s))


class Observer:
    """Looks at a lake every 20 s, as far as its own clock goes."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.at = now()

    def look(self) -> dict[tuple[str, str | None], tuple[float | None, int, int]]:
        found = look(self.lake, self.at)
        self.at += dt.timedelta(seconds=20)
        return found

    def arrive(self, *messages: Message, ago: dt.timedelta = dt.timedelta(0)) -> None:
        self.lake.arrive(*messages, ingested=now() - ago)


def test_a_lake_without_anything_promises_nothing(lake: Lake) -> None:
    assert look(lake, now()) == {}
    assert status(lake.catalog, storage=lake.storage, now=now()) == ()


def test_freshness_and_availability_of_each_region(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=60), reading(1, "b", region="us", at=10))
    lake.refine()
    lake.compute()
    found = look(lake, EPOCH + dt.timedelta(hours=2))  # an hour after the newest event of eu; that is the bound
    assert found["freshness", "eu"] == (3600.0, 1, 0)
    assert found["freshness", "us"] == (6600.0, 0, 1)
    assert found["availability", "eu"] == (1.0, 1, 0)
    assert found["availability", "us"] == (0.0, 0, 1)


def test_what_cannot_be_read_is_not_available(lake: Lake) -> None:
    lake.arrive(reading(0, at=60))
    lake.refine()
    lake.compute()
    for path in lake.gold.files()["path"]:
        lake.gold.filesystem.rm_file(f"{lake.gold.uri}/{path}")
    found = look(lake, EPOCH + HOUR)
    assert found["freshness", "eu"] == (0.0, 1, 0)
    assert found["availability", "eu"] == (0.0, 0, 1)


def began(lake: Lake) -> dt.datetime:
    """When the first batch was committed: the table is made by version 0."""
    (commit,) = lake.bronze.commits(1, 1)
    return dt.datetime.fromtimestamp(commit.timestamp_ms / 1000, dt.UTC)


def test_a_dataset_that_nobody_refines_is_not_available(lake: Lake) -> None:
    """Once the first event has had its freshness to come."""
    lake.arrive(reading(0))
    at = began(lake) + HOUR
    assert look(lake, at).keys() == {("lag_records", None), ("lag_seconds", None)}
    found = look(lake, at + dt.timedelta(seconds=20))
    assert found["freshness", "eu"] == found["freshness", "us"] == (None, 0, 1)
    assert found["availability", "eu"] == found["availability", "us"] == (0.0, 0, 1)


def test_a_region_is_judged_from_its_first_event_or_when_that_is_overdue(lake: Lake) -> None:
    lake.arrive(reading(0, region="us"))
    lake.refine()
    at = began(lake)
    young = look(lake, at + dt.timedelta(seconds=20))
    assert young["freshness", "us"][1:] == (0, 1)  # its event is old
    assert {region for _, region in young} == {None, "us"}
    old = look(lake, at + HOUR + dt.timedelta(seconds=20))
    assert old["freshness", "eu"] == (None, 0, 1)
    assert old["availability", "eu"] == (0.0, 0, 1)


def test_when_a_dataset_began_is_looked_up_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(reading(0))
    at = began(lake)
    look(lake, at)
    table = Table.find(specs.measurements(), storage=lake.storage)
    assert table is not None
    assert table.cursors()[f"begun/readings/{lake.cursor.topic_id}"] == int(at.timestamp() * 1000)
    lake.arrive(reading(1))
    monkeypatch.setattr(Table, "first_commit", lambda _: pytest.fail("again"))
    assert ("freshness", "eu") not in look(lake, at + HOUR)
    assert ("freshness", "eu") in look(lake, at + HOUR + dt.timedelta(seconds=20))


def test_of_a_log_that_was_cut_short_the_oldest_commit_counts(lake: Lake) -> None:
    for number in range(3):
        lake.arrive(reading(number))
    shown_ago(lake.bronze, dt.timedelta(hours=2))
    bronze = lake.bronze
    bronze.delta.create_checkpoint()
    for version in range(bronze.version):
        bronze.filesystem.rm_file(f"{bronze.uri}/_delta_log/{version:020d}.json")
    found = begun(lake.dataset, lake.bronze, known={})
    assert found is not None
    assert found.since == bronze.committed_at() < now() - HOUR


def test_a_dataset_without_a_batch_is_not_measured(lake: Lake) -> None:
    assert lake.bronze.version == 0  # as a run leaves it that has found an empty topic
    assert look(lake, now()) == {}
    lake.arrive(reading(0))
    assert ("freshness", "eu") not in look(lake, began(lake) + HOUR)


def test_what_cannot_be_read_is_judged_however_young(lake: Lake) -> None:
    lake.arrive(reading(0))
    lake.refine()
    silver = lake.silver
    silver.filesystem.pipe_file(f"{silver.uri}/_delta_log/{silver.version + 1:020d}.json", b"{")
    done = measure(lake.catalog, storage=lake.storage, bootstrap=no_broker, now=began(lake) + dt.timedelta(seconds=1))
    assert done is not None
    found = {(one.objective, one.region): (one.value, one.good, one.bad) for one in done.measurements}
    assert found["availability", "eu"] == found["availability", "us"] == (0.0, 0, 1)
    assert found["freshness", "eu"] == (None, 0, 1)


def test_a_broker_that_does_not_answer_is_a_bad_moment(lake: Lake) -> None:
    lake.arrive(reading(0))
    found = look(lake, now())
    assert found["lag_seconds", None] == (None, 0, 1)
    assert found["lag_records", None] == (None, 0, 0)  # nothing is promised of it


def test_of_two_that_measure_at_once_one_does(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.arrive(reading(0))
    at = now()
    look(lake, at)
    assert measure(lake.catalog, storage=lake.storage, bootstrap=no_broker, now=at + dt.timedelta(seconds=1)) is None
    original = measuring.measure_lag

    def slow(*args: Any, **named: Any) -> Any:
        monkeypatch.setattr(measuring, "measure_lag", original)
        look(lake, at + dt.timedelta(seconds=20))
        return original(*args, **named)

    monkeypatch.setattr(measuring, "measure_lag", slow)
    with pytest.raises(StaleCursorError):
        measure(lake.catalog, storage=lake.storage, bootstrap=no_broker, now=at + dt.timedelta(seconds=20.1))
    assert records(lake)["at"].n_unique() == 2


def test_each_event_is_counted_once_when_it_is_visible(lake: Lake) -> None:
    """Seconds from the append to Gold are those between the record's time and the mart's own commit."""
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    assert ("completeness", None) not in observer.look()  # nobody waits for what was there
    lake.refine()
    lake.compute()
    observer.arrive(sent(reading(1, "a"), 30), sent(reading(2, "b", region="us"), 90), sent(reading(3, "c"), 200))
    assert ("latency_p50", None) not in observer.look()
    lake.refine()
    assert ("latency_p50", None) not in observer.look()
    lake.compute()
    found = observer.look()
    assert found["completeness", None] == (1.0, 3, 0)
    assert found["latency_p50", None][1:] == (1, 2)  # within a minute
    assert found["latency_p95", None][1:] == (2, 1)  # within two
    assert found["latency_p99", None][1:] == (3, 0)  # within five
    assert found["latency_p50", None][0] == pytest.approx(90, abs=15)
    assert found["latency_p99", None][0] == pytest.approx(90 + 0.98 * 110, abs=15)
    assert ("latency_p50", None) not in observer.look()
    (one,) = (one for one in status(lake.catalog, storage=lake.storage, now=observer.at) if one.name == "latency_p95")
    assert (one.good, one.bad, one.unmeasured) == (2, 1, 0)


def test_the_first_commit_that_shows_an_event_counts(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    observer.look()
    observer.arrive(sent(reading(1, "a"), 100))
    lake.refine()
    lake.compute()
    shown_ago(lake.silver, dt.timedelta(seconds=60))
    shown_ago(lake.gold, dt.timedelta(seconds=50))
    observer.arrive(sent(reading(2, "b"), 100))
    lake.refine()
    lake.compute()
    found = observer.look()
    # The first took some 50 s, the second 100 s, however late it is looked at.
    assert found["latency_p99", None][0] == pytest.approx(100, abs=12)
    assert found["latency_p50", None][0] == pytest.approx(75, abs=12)


def test_what_is_refined_again_was_visible_before(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    observer.look()
    observer.arrive(sent(reading(1, "a"), 100))
    lake.refine()
    lake.compute()
    shown_ago(lake.silver, dt.timedelta(seconds=60))
    shown_ago(lake.gold, dt.timedelta(seconds=50))
    before = lake.silver.version
    list(refine(lake.dataset, storage=lake.storage, keys=None, afresh=True))
    list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, afresh=True))
    assert lake.silver.version > before
    assert observer.look()["latency_p99", None][0] == pytest.approx(50, abs=12)


def test_an_event_is_visible_when_the_cache_has_its_version_or_a_later_one(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    observer.look()
    observer.arrive(sent(reading(1, "a"), 10))
    lake.refine()
    lake.compute()
    first = lake.gold.version
    observer.arrive(sent(reading(2, "b"), 10), sent(reading(3, "c", region="us"), 10))
    lake.refine()
    lake.compute()
    late = {first - 1: now() - dt.timedelta(hours=1), first + 1: now() + dt.timedelta(seconds=90)}
    done = measure(
        lake.catalog, storage=lake.storage, bootstrap=no_broker, now=observer.at, cached=lambda mart, gold: late
    )
    assert done is not None
    (p50,) = (one for one in done.measurements if one.objective == "latency_p50")
    assert (p50.good, p50.bad) == (0, 3)
    assert p50.value == pytest.approx(100, abs=12)


def test_duplicates_change_nothing_in_gold_and_are_visible_at_once(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "a"))
    lake.refine()
    lake.compute()
    observer.look()
    observer.arrive(reading(0, "a"), tombstone(1, "gone"))
    lake.refine()
    assert lake.stale() == []
    found = observer.look()
    assert found["completeness", None] == (1.0, 2, 0)
    assert sum(found["latency_p99", None][1:]) == 1  # a delete is no event


def test_poison_and_quarantine_are_missing(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    observer.look()
    poison = replace(reading(1), payload=b"{")
    observer.arrive(poison, reading(2, "bad", level=-1), reading(3, "good"), reading(4, "fine"))
    lake.refine()
    lake.compute()
    assert observer.look()["completeness", None] == (0.5, 2, 2)


def test_what_waits_for_too_long_is_late_and_missing(lake: Lake) -> None:
    """A batch that nobody refines within the hour is judged all the same, and not again when it comes."""
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    lake.refine()
    lake.compute()
    observer.look()
    long = dt.timedelta(minutes=61)
    observer.arrive(sent(reading(1, "a"), 3700), sent(reading(2, "b", region="us"), 3700), ago=long)
    lake.refine()
    observer.arrive(sent(reading(3, "c"), 3700), ago=long)
    observer.arrive(sent(reading(4, "d"), 1), ago=dt.timedelta(seconds=1))
    found = observer.look()
    assert found["completeness", None] == (2 / 3, 2, 1)  # two are in Silver
    assert found["latency_p99", None][1:] == (0, 3)  # none in Gold
    lake.refine()
    lake.compute()
    assert observer.look()["completeness", None] == (1.0, 1, 0)


def test_what_is_held_back_holds_up_nothing_for_longer_than_that(lake: Lake) -> None:
    """Another region's events are judged in the order of batches, so they wait too, but not for ever."""
    observer = Observer(lake)
    observer.arrive(reading(0, "before"))
    observer.look()
    bad = [reading(number, f"bad{number}", region="us", level=-1) for number in range(1, 201)]  # opens the breaker
    observer.arrive(*bad, reading(300, "good"), ago=dt.timedelta(minutes=61))
    lake.refine()
    lake.compute()
    found = observer.look()
    assert found["completeness", None] == (1 / 201, 1, 200)


def test_a_topic_made_anew_begins_anew(lake: Lake) -> None:
    observer = Observer(lake)
    observer.arrive(reading(0, "a"))
    observer.look()
    table = Table.find(specs.measurements(), storage=lake.storage)
    assert table is not None
    assert table.cursors()[f"delivered/readings/{lake.cursor.topic_id}"] == 0
    lake.bronze.filesystem.rm(lake.bronze.uri, recursive=True)
    lake.cursor = replace(lake.cursor, topic_id="another", next={}, start={}, batch_id=-1)
    observer.arrive(reading(0, "a"))
    observer.look()
    table.refresh()
    assert table.cursors()["delivered/readings/another"] == 0


def test_a_day_of_looks_is_few_files(lake: Lake) -> None:
    lake.arrive(reading(0))
    observer = Observer(lake)
    for _ in range(34):
        observer.look()
    table = Table.find(specs.measurements(), storage=lake.storage)
    assert table is not None
    assert len(table.files()) < 20
    assert records(lake)["at"].n_unique() == 34
