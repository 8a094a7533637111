"""What is told of the tables is what counting their rows gives."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dagster_project.errors import LakeError
from dagster_project.ingest.bronze import _told
from dagster_project.lake.keys import Key
from dagster_project.lake.log import Commit
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Entry
from dagster_project.metrics import lake as metrics
from dagster_project.metrics import recent
from dagster_project.metrics.family import Source
from dagster_project.refine.holds import Hold
from dagster_project.topics.offsets import Offsets
from tests.unit.lakes import EPOCH, Lake, Message, reading, tombstone
from tests.unit.metrics.scrape import by, scraped

BAD = Message(offset=0, payload=b"{", key=b"x")


def source(lake: Lake) -> Source:
    return metrics.source(lake.catalog, storage=lake.storage)


def filled(lake: Lake) -> None:
    """Poison and deletes in one commit and in commits of their own, rows that break rules, and two regions."""
    lake.arrive(reading(0), reading(1, "b", level=-1), reading(2, "c", region="us", day=2), replace(BAD, offset=3))
    lake.refine()
    lake.arrive(tombstone(4, "c", at=9), replace(BAD, offset=5), replace(BAD, offset=6), reading(7, "d", level=-5))
    lake.arrive(tombstone(8, "nobody", at=9))
    lake.refine()
    lake.compute()


def test_rows_by_fate_are_those_of_the_tables(lake: Lake) -> None:
    filled(lake)

    found = scraped(source(lake))

    kinds = lake.bronze.rows().collect()["_kind"].to_list()
    assert (
        by(found, "lakehouse_rows", "fate", layer="bronze")
        == Counter(kinds)
        == {
            "event": 4,
            "poison": 3,
            "tombstone": 2,
        }
    )
    silver = lake.silver.rows().collect()["_deleted"].to_list()
    assert by(found, "lakehouse_rows", "fate", layer="silver") == {
        "row": silver.count(False),
        "delete": silver.count(True),
    }
    assert by(found, "lakehouse_rows", "fate", layer="quarantine") == {"waiting": 2, "released": 0}
    assert by(found, "lakehouse_rows", "fate", layer="gold") == {"row": len(lake.gold.rows().collect())}
    assert by(found, "lakehouse_quarantined_rows", "table", "rule") == {"readings/level.minimum": 2}


def test_released_rows_leave_the_count_of_their_rule(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(lake)
    held = lake.quarantine
    rows = held.rows().collect().with_columns(pl.lit(7, pl.Int64).alias("_release"))
    standing = source(lake)
    assert by(scraped(standing), "lakehouse_rows", "fate", layer="quarantine")["waiting"] == 2

    held.commit(rows.head(1), remove=held.files().head(1), cursors={})

    left = held.rows().collect()["_release"].null_count()
    found = scraped(standing)
    assert by(found, "lakehouse_rows", "fate", layer="quarantine") == {"waiting": left, "released": 1}
    assert by(found, "lakehouse_quarantined_rows", "rule") == {"level.minimum": left}


def test_each_file_is_read_once(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(lake)
    read: list[str] = []
    rows = Table.rows

    def counted(self: Table, files: pl.DataFrame | None = None, *, with_path: bool = False) -> pl.LazyFrame:
        assert files is not None
        read.extend(files["path"])
        return rows(self, files, with_path=with_path)

    monkeypatch.setattr(Table, "rows", counted)
    standing = source(lake)
    scraped(standing)
    first = list(read)
    # One file of Bronze has poison and deletes, and two of quarantine say why.
    assert len(first) == len(set(first)) == 3
    scraped(standing)
    assert read == first
    lake.arrive(reading(9, "e", level=-1))
    lake.refine()
    read.clear()
    scraped(standing)
    assert len(read) == 1


def test_sizes_and_versions_are_those_on_disk(lake: Lake) -> None:
    filled(lake)
    found = scraped(source(lake))
    for layer, table in (("bronze", lake.bronze), ("silver", lake.silver), ("quarantine", lake.quarantine)):
        named = {"layer": layer, "table": "readings"}
        live = [Path(table.uri) / path for path in table.files()["path"]]
        assert by(found, "lakehouse_table_version", **named) == {"": table.version}
        assert by(found, "lakehouse_table_files", **named) == {"": len(live)}
        assert by(found, "lakehouse_table_bytes", **named) == {"": sum(path.stat().st_size for path in live)}


def test_freshness_is_the_age_of_each_regions_newest_event(lake: Lake) -> None:
    lake.arrive(reading(0, at=3), reading(1, "b", at=7), reading(2, "c", region="us", at=30, day=2))
    lake.refine()
    moment = EPOCH + dt.timedelta(hours=2)
    samples = {s.labels: s.value for s in source(lake).read(moment.timestamp()) if "freshness" in s.family.name}
    assert samples == {("readings", "eu"): 113 * 60, ("readings", "us"): 90 * 60}


def test_what_waits_is_counted_until_it_is_done(lake: Lake) -> None:
    def waits() -> dict[str, float]:
        return by(scraped(source(lake)), "lakehouse_pending_partitions", "layer", "table")

    lake.arrive(reading(0), reading(1, "b", region="us", day=2))
    assert waits() == {"silver/readings": 2}
    lake.refine()
    lake.compute()
    assert waits() == {"silver/readings": 0, "gold/levels": 0}
    lake.arrive(reading(2, "c"))
    lake.refine()
    assert waits() == {"silver/readings": 0, "gold/levels": 1}


def test_an_open_breaker_is_told_of_its_region_alone(lake: Lake) -> None:
    lake.arrive(reading(0), *(reading(n, f"r{n}", region="us", level=-1) for n in range(1, 201)))
    lake.refine()
    found = scraped(source(lake))
    assert by(found, "lakehouse_breaker_open", "region") == {"eu": 0, "us": 1}
    assert by(found, "lakehouse_held_partitions", "layer") == {"silver": 0}
    assert by(found, "lakehouse_pending_partitions", "layer") == {"silver": 1}


def test_a_table_partition_that_is_held_back_opens_no_breaker(lake: Lake) -> None:
    lake.arrive(reading(0))
    lake.refine()
    hold = Hold(scope=Key(EPOCH.date(), "eu"), version=9, since_ms=0, retry_ms=0, judged=0, rules=0)
    lake.silver.commit(lake.silver.rows().collect().clear(), cursors=hold.cursors())
    found = scraped(source(lake))
    assert by(found, "lakehouse_breaker_open", "region") == {"eu": 0, "us": 0}
    assert by(found, "lakehouse_held_partitions", "layer") == {"silver": 1}


def test_declared_losses_are_counted_in_offsets(lake: Lake) -> None:
    from dagster_project.lake import specs
    from dagster_project.ledger.ledger import write

    lake.arrive(reading(0))
    topic = lake.cursor.topic(lake.dataset.topic.name)
    lost = Offsets.of_bounds({0: 10, 1: 0}, {0: 25, 1: 1})
    table = Table.open(specs.ledger(lake.dataset), storage=lake.storage)
    write(table, topic, [Entry(offsets=lost, kind="lost")], batch_id=0, covered={})
    assert by(scraped(source(lake)), "lakehouse_lost_offsets", "dataset") == {"readings": 16}


def test_the_last_commits_say_how_many_rows_were_poison_drifted_or_late(lake: Lake) -> None:
    standing = source(lake)
    now = time.time()

    def commit(*messages: Message) -> None:
        lake.arrive(*messages)
        rows = lake.bronze.rows().collect().filter(pl.col("_batch_id") == lake.cursor.batch_id)
        lake.bronze.commit(rows.clear(), cursors={}, metadata={"rows": len(rows), **_told(rows)})

    def told(window: str, at: float) -> dict[str, float]:
        samples = [sample for sample in standing.read(at) if sample.family is recent.RECENT]
        return {s.labels[1]: s.value for s in samples if s.labels[2] == window}

    commit(reading(0, at=60, day=2), reading(1, "b", at=30, day=2), replace(BAD, offset=2))
    assert told("5m", now + 1) == {"rows": 3, "poison": 1, "drifted": 0, "late": 1}
    commit(reading(3, "c", at=90, day=2))
    assert told("5m", now + 1) == {"rows": 4, "poison": 1, "drifted": 0, "late": 1}
    assert told("5m", now + 1000)["rows"] == 0
    assert told("1h", now + 1000)["rows"] == 4
    assert told("1h", now + 10_000)["rows"] == 0


def test_a_long_log_is_read_back_as_far_as_the_window_goes_and_each_commit_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[range] = []

    class Log:
        """A commit a second, of which the log still has those from 1000 on."""

        uri = "a"
        version = 5000

        def commits(self, first: int, last: int) -> list[Commit]:
            asked.append(range(first, last + 1))
            if first < 1000:
                raise FileNotFoundError
            info = {"rows": "2", "poison": "1", "drifted": "0", "late": "0"}
            return [Commit(version=v, timestamp_ms=v * 1000, info=info, cursors={}) for v in range(first, last + 1)]

    log, tail = Log(), recent.Tail()
    counted = [told for told in tail._last(log, since=4900.0) if told.at > 4900.0]  # pyright: ignore[reportArgumentType]
    assert [told.counts for told in counted] == [(2, 1, 0, 0)] * 100
    assert sum(map(len, asked)) <= 128
    asked.clear()
    log.version = 5003
    tail._last(log, since=4903.0)  # pyright: ignore[reportArgumentType]
    assert sum(map(len, asked)) == 3
    asked.clear()
    assert len(recent.Tail()._last(log, since=0.0)) >= 3900  # pyright: ignore[reportArgumentType]


def test_a_lake_without_tables_says_nothing_and_fails_nothing(lake: Lake) -> None:
    found = scraped(source(lake))
    assert by(found, "lakehouse_source_up", "source") == {"lake": 1}
    assert found["lakehouse_rows"] == {}


def test_a_table_that_was_made_anew_is_found_again(lake: Lake) -> None:
    import shutil

    standing = source(lake)
    lake.arrive(reading(0), reading(1, "b"))
    scraped(standing)
    shutil.rmtree(Path(lake.bronze.uri))
    lake.cursor = replace(lake.cursor, start={}, next={}, batch_id=-1)
    lake.arrive(reading(0))
    assert by(scraped(standing), "lakehouse_rows", "fate", layer="bronze")["event"] == 1


def test_a_store_that_is_away_is_an_error(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise LakeError("no store")

    monkeypatch.setattr(Table, "find", away)
    found = scraped(source(lake))
    assert by(found, "lakehouse_source_up", "source") == {"lake": 0}
