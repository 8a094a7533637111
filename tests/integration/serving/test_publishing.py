"""What is committed to Gold is in the cache, and whoever reads has the same rows from either."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from dagster_project.contract.model import Mart, Serve
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.services import cache as service
from dagster_project.serving import publish as publishing
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import entries
from dagster_project.serving.heal import heal
from dagster_project.serving.publish import publish
from dagster_project.serving.reader import Reader, Served
from dagster_project.serving.status import status
from dagster_project.settings import Settings
from tests.integration.serving.conftest import cache_of
from tests.unit.lakes import Lake, reading, tombstone

DAY = dt.date(2026, 1, 1)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def cache(shared_server: Settings, lake: Lake) -> Cache:
    return cache_of(shared_server, lake)


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind is said to be so at once."""
    for module in ("publish", "reader", "heal"):
        monkeypatch.setattr(f"dagster_project.serving.{module}.GRACE", dt.timedelta(0))


def read(lake: Lake, cache: Cache, mart: Mart | None = None, keys: list[Key] | None = None) -> Served:
    return Reader(storage=lake.storage, cache=cache).read(mart or lake.mart, keys)


def totals(rows: pl.DataFrame) -> set[tuple[object, ...]]:
    return set(rows.select("event_date", "region", "total").iter_rows())


def in_gold(lake: Lake) -> set[tuple[object, ...]]:
    """Of the files themselves, as another reader of Delta finds them."""
    return totals(pl.read_delta(lake.gold.uri))


def test_a_commit_is_served_and_only_what_changed_is_sent(lake: Lake, cache: Cache) -> None:
    first = publish(lake.mart, lake.gold, cache=cache)
    assert (first.state, first.partitions, first.rows) == ("published", 4, 4)
    assert publish(lake.mart, lake.gold, cache=cache).state == "current"

    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    lake.refine()
    lake.compute()
    behind = read(lake, cache)
    assert (behind.source, behind.stale_since is not None) == ("gold", True)
    second = publish(lake.mart, lake.gold, cache=cache)
    assert (second.partitions, second.rows) == (1, 1)

    found = read(lake, cache)
    assert (found.source, found.stale_since, found.version, found.whole) == ("cache", None, lake.gold.version, True)
    assert totals(found.rows) == in_gold(lake) != totals(pl.DataFrame(schema=found.rows.schema))
    assert found.rows.schema == specs.gold(lake.mart).schema
    assert found.rows.equals(read(lake, Cache(lambda: "", storage=lake.storage)).rows)


def test_what_is_gone_from_gold_is_gone_from_the_cache(lake: Lake, cache: Cache) -> None:
    publish(lake.mart, lake.gold, cache=cache)
    lake.arrive(tombstone(4, "d", at=9))
    lake.refine()
    lake.compute()
    publish(lake.mart, lake.gold, cache=cache)
    found = read(lake, cache)
    assert found.source == "cache"
    assert totals(found.rows) == in_gold(lake)
    assert len(found.rows) == 3
    fields: list[bytes] = cache.ask(lambda client: client.hkeys(cache.key("levels", "mart")))
    assert sum(field.startswith(b"rows/") for field in fields) == 3


def test_table_partitions_are_read_by_themselves(lake: Lake, cache: Cache) -> None:
    publish(lake.mart, lake.gold, cache=cache)
    found = read(lake, cache, keys=[Key(DAY, "us"), Key(dt.date(2025, 1, 1), "eu")])
    assert (found.source, found.whole, totals(found.rows)) == ("cache", True, {(DAY, "us", 2)})


def test_a_large_mart_has_its_newest_days_served(lake: Lake, cache: Cache) -> None:
    mart = replace(lake.mart, serve=Serve(ttl=HOUR, max_rows=3))
    publish(mart, lake.gold, cache=cache)
    newest = {row for row in in_gold(lake) if row[0] != DAY}
    cached, gold = read(lake, cache, mart), read(lake, Cache(lambda: "", storage=lake.storage), mart)
    assert (cached.source, gold.source) == ("cache", "gold")
    assert totals(cached.rows) == totals(gold.rows) == newest
    assert not cached.whole
    assert not gold.whole
    # Days that are not served come from Gold, and nothing is stale about it.
    old = read(lake, cache, mart, [Key(DAY, "eu")])
    assert (old.source, old.stale_since, old.whole, totals(old.rows)) == ("gold", None, True, {(DAY, "eu", 1)})


def test_a_day_that_is_too_large_is_read_from_gold(lake: Lake, cache: Cache) -> None:
    mart = replace(lake.mart, serve=Serve(ttl=HOUR, max_rows=1))
    assert publish(mart, lake.gold, cache=cache).state == "too large"
    found = read(lake, cache, mart)
    assert (found.source, found.stale_since, totals(found.rows)) == ("gold", None, in_gold(lake))
    (copy,) = status(replace(lake.catalog, marts=(mart,)), storage=lake.storage, cache=cache).marts
    assert (copy.current, copy.rows) == (True, 0)


def test_an_older_version_that_comes_late_is_refused(lake: Lake, cache: Cache) -> None:
    older = Table.find(specs.gold(lake.mart), storage=lake.storage)
    assert older is not None
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    lake.refine()
    lake.compute()
    publish(lake.mart, lake.gold, cache=cache)
    assert publish(lake.mart, older, cache=cache).state == "outpaced"
    assert totals(read(lake, cache).rows) == in_gold(lake)


def test_a_table_that_was_made_anew_takes_over(lake: Lake, cache: Cache, tmp_path: Path) -> None:
    for offset in range(4, 7):  # a version that the new table will not reach
        lake.arrive(reading(offset, f"n{offset}", day=2, region="us", level=offset))
        lake.refine()
        lake.compute()
    publish(lake.mart, lake.gold, cache=cache)
    older = lake.gold
    Path(older.uri).rename(tmp_path / "retired")
    time.sleep(0.002)  # made later, to the millisecond
    lake.compute()
    assert lake.gold.version < older.version
    assert lake.gold.created_ms > older.created_ms
    assert read(lake, cache).source == "gold"
    assert publish(lake.mart, lake.gold, cache=cache).state == "published"
    assert publish(lake.mart, older, cache=cache).state == "outpaced"
    assert read(lake, cache).source == "cache"


def test_a_table_keeps_its_time_of_making(lake: Lake) -> None:
    before = lake.gold.created_ms
    wider = replace(specs.gold(lake.mart), schema={**specs.gold(lake.mart).schema, "more": pl.Int64()})
    assert Table.open(wider, storage=lake.storage).created_ms == before
    assert DeltaTable(lake.gold.uri).metadata().created_time == before


def test_a_column_more_is_sent_with_all_rows(lake: Lake, cache: Cache) -> None:
    publish(lake.mart, lake.gold, cache=cache)
    wider = replace(specs.gold(lake.mart), schema={**specs.gold(lake.mart).schema, "more": pl.Int64()})
    assert publish(lake.mart, Table.open(wider, storage=lake.storage), cache=cache).partitions == 4


def test_a_copy_that_nobody_renews_goes_and_is_said_to_be_gone(lake: Lake, cache: Cache) -> None:
    mart = replace(lake.mart, serve=Serve(ttl=dt.timedelta(milliseconds=80)))
    reader = Reader(storage=lake.storage, cache=cache)
    publish(mart, lake.gold, cache=cache)
    assert reader.read(mart).source == "cache"
    time.sleep(0.1)
    began = dt.datetime.now(dt.UTC)
    gone = reader.read(mart)
    assert (gone.source, totals(gone.rows)) == ("gold", in_gold(lake))
    assert gone.stale_since is not None
    assert began <= gone.stale_since <= dt.datetime.now(dt.UTC)
    assert reader.read(mart).stale_since == gone.stale_since
    publish(lake.mart, lake.gold, cache=cache)
    assert reader.read(mart).stale_since is None


def test_a_copy_that_is_as_new_as_gold_lives_on(lake: Lake, cache: Cache) -> None:
    mart = replace(lake.mart, serve=Serve(ttl=dt.timedelta(seconds=10)))
    tables = {"gold/levels": lake.gold}
    publish(mart, lake.gold, cache=cache)
    cache.ask(lambda client: client.pexpire(cache.key("levels", "mart"), 4000))
    assert heal([mart], tables, cache=cache, seconds=1).published == []
    left = entries(["levels"], cache=cache)["levels"]
    assert left is not None
    assert 9 < left.left_s <= 10


def test_what_the_cache_lacks_is_found_and_filled(lake: Lake, cache: Cache) -> None:
    tables = {"gold/levels": lake.gold}
    (done,) = heal([lake.mart], tables, cache=cache, seconds=1).published
    assert done.state == "published"
    assert heal([lake.mart], tables, cache=cache, seconds=1).published == []
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    lake.refine()
    lake.compute()
    late = {"gold/levels": lake.gold}
    assert heal([lake.mart], late, cache=cache, seconds=-1).left == ["levels"]
    (done,) = heal([lake.mart], late, cache=cache, seconds=1).published
    assert (done.state, done.partitions) == ("published", 1)
    assert heal([lake.mart], {"gold/levels": None}, cache=cache, seconds=1).published == []


def test_a_commit_that_was_just_made_is_left_to_whoever_made_it(
    lake: Lake, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lake.mart, lake.gold, cache=cache)
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    lake.refine()
    lake.compute()
    for module in ("reader", "heal"):
        monkeypatch.setattr(f"dagster_project.serving.{module}.GRACE", HOUR)
    assert heal([lake.mart], {"gold/levels": lake.gold}, cache=cache, seconds=1).published == []
    found = read(lake, cache)
    assert (found.source, found.stale_since, totals(found.rows)) == ("gold", None, in_gold(lake))


def test_two_lakes_share_a_cache(lake: Lake, cache: Cache, shared_server: Settings, tmp_path: Path) -> None:
    other = Lake.at(tmp_path / "other", catalog=lake.catalog)
    other.arrive(reading(0, "z", level=99))
    other.refine()
    other.compute()
    publish(lake.mart, lake.gold, cache=cache)
    publish(other.mart, other.gold, cache=cache_of(shared_server, other))
    assert totals(read(lake, cache).rows) == in_gold(lake)
    assert totals(read(other, cache_of(shared_server, other)).rows) == {(DAY, "eu", 99)}


def test_what_fails_in_gold_is_told_and_not_raised(
    lake: Lake, cache: Cache, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanished(*_: object) -> pl.DataFrame:
        raise FileNotFoundError("part-0.parquet")

    monkeypatch.setattr(publishing, "published", vanished)
    done = publish(lake.mart, lake.gold, cache=cache)
    assert (done.state, done.reason) == ("unavailable", "part-0.parquet")
    assert "part-0.parquet" in caplog.text


def test_where_the_store_is_away_the_cache_says_since_when(
    lake: Lake, cache: Cache, shared_server: Settings, tmp_path: Path
) -> None:
    publish(lake.mart, lake.gold, cache=cache)
    expected, log = in_gold(lake), Path(lake.gold.uri) / "_delta_log"
    reader = Reader(storage=lake.storage, cache=cache)
    newest = max(log.glob("*.json"))
    newest.rename(tmp_path / "aside")
    (log / newest.name).mkdir()  # neither a file nor absent
    found = reader.read(lake.mart)
    assert (found.source, totals(found.rows)) == ("cache", expected)
    assert found.stale_since is not None
    (log / newest.name).rmdir()
    (tmp_path / "aside").rename(newest)
    assert reader.read(lake.mart).stale_since is None


def test_no_cache_is_no_trouble(lake: Lake, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, project=tmp_path, lake_uri=lake.storage.uri, bootstrap_servers="")
    none = Cache.of(settings)
    assert service.cache_url(settings) == ""
    assert publish(lake.mart, lake.gold, cache=none).state == "no cache"
    found = read(lake, none)
    assert (found.source, found.stale_since, totals(found.rows)) == ("gold", None, in_gold(lake))
    said = status(lake.catalog, storage=lake.storage, cache=none)
    assert (said.state, said.breaker, said.address) == ("none", "", "")
