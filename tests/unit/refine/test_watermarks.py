"""Watermarks follow from what was read alone: nobody waits for who is silent, and nothing is passed that is still to come."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Bound, TableRule
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.silver import refine
from dagster_project.refine.watermarks import Watermark, sources, watermarks
from tests.unit.lakes import EPOCH, Lake, Message, small_catalog, tombstone
from tests.unit.lateness import ALLOWED, event, late, newest

IDLE = dt.timedelta(minutes=20)


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=catalog, idle_after=IDLE)


def minute(at: float) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=at)


def of(lake: Lake) -> dict[str, Watermark]:
    return watermarks(lake.dataset, lake.silver)


def at(lake: Lake) -> dict[str, float]:
    """By region, the watermark in minutes after the first midnight."""
    return {region: (found.at - EPOCH) / dt.timedelta(minutes=1) for region, found in of(lake).items()}


def expected(messages: list[Message]) -> dict[str, Watermark]:
    """The definition, word by word."""
    reached = newest(messages)
    moments: dict[str, dt.datetime] = {}
    for region in {region for _, region in reached}:
        own = [moment for (_, other), moment in reached.items() if other == region]
        awake = [moment for moment in own if max(own) - moment <= IDLE]
        moments[region] = min(awake) - ALLOWED
    return {
        region: Watermark(at=moment, silent=max(moments.values()) - moment > IDLE) for region, moment in moments.items()
    }


@st.composite
def topics(draw: st.DrawFn) -> list[list[Message]]:
    """Batches of events of two regions in two Kafka partitions, with deletes in between."""
    messages: list[Message] = []
    drawn = draw(
        st.lists(
            st.tuples(st.integers(0, 1), st.sampled_from(["eu", "us", ""]), st.integers(0, 90)), min_size=1, max_size=8
        )
    )
    for offset, (partition, region, moment) in enumerate(drawn):
        if region:
            messages.append(event(offset, moment, region=region, partition=partition))
        else:
            messages.append(tombstone(offset, f"{partition}/{offset - 1}", at=moment, partition=partition))
    inner = range(1, len(messages))
    cuts = sorted(draw(st.sets(st.sampled_from(inner), max_size=3)) if inner else ())
    return [messages[first:last] for first, last in pairwise([0, *cuts, len(messages)])]


@settings(max_examples=8)
@given(batches=topics())
def test_any_batches_and_a_rebuild_give_the_same_watermarks_and_lateness(
    catalog: Catalog, batches: list[list[Message]]
) -> None:
    messages = [message for batch in batches for message in batch]
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake.at(Path(folder) / "a", catalog=catalog, idle_after=IDLE)
        for batch in batches:
            lake.arrive(*batch)
            lake.refine()
        again = Lake.at(Path(folder) / "b", catalog=catalog, idle_after=IDLE)
        again.arrive(*messages)
        again.refine()
        assert of(lake) == of(again) == expected(messages)
        wanted = late(messages)
        for one in (lake, again):
            rows = one.silver.rows().select("_kafka_partition", "_kafka_offset", "_late_us").collect()
            assert all(value == wanted[partition, offset] for partition, offset, value in rows.iter_rows())


def test_the_slowest_kafka_partition_decides_unless_it_is_idle(lake: Lake) -> None:
    lake.arrive(event(0, 60), event(0, 45, partition=1), event(0, 39, partition=2))
    lake.refine()
    assert at(lake) == {"eu": 35}
    (own,) = sources(lake.dataset, lake.silver.cursors()).values()
    assert [(source.partition, source.newest, source.idle) for source in own] == [
        (0, minute(60), False),
        (1, minute(45), False),
        (2, minute(39), True),
    ]
    # Once it comes back, it is waited for again: the watermark is what is known now.
    lake.arrive(event(1, 41, partition=2))
    lake.refine()
    assert at(lake) == {"eu": 31}


def test_a_silent_region_does_not_stall_the_others_and_comes_back(lake: Lake) -> None:
    lake.arrive(event(0, 0, region="us"), event(0, 20, partition=1))
    lake.refine()
    assert not any(found.silent for found in of(lake).values())
    for hour in range(1, 7):
        lake.arrive(event(hour, 60 * hour, partition=1))
        lake.refine()
    assert of(lake) == {
        "eu": Watermark(at=minute(350), silent=False),
        "us": Watermark(at=minute(-10), silent=True),
    }
    lake.arrive(*(event(n, n, region="us", sent=361) for n in range(1, 9)))
    lake.arrive(event(9, 359, region="us"))
    lake.refine()
    assert of(lake)["us"] == Watermark(at=minute(349), silent=False)
    assert lake.silver.rows().collect()["_late_us"].null_count() == 17


def test_a_clock_in_the_future_moves_no_watermark_past_the_time_of_its_record(lake: Lake) -> None:
    lake.arrive(event(0, 60), event(1, 90 * 24 * 60, sent=61))
    lake.refine()
    assert at(lake) == {"eu": 51}


def test_a_region_has_no_watermark_before_all_that_was_read_of_it_is_in_silver(lake: Lake) -> None:
    days = [event(n, 60 + n, day=1 + n) for n in range(2)]
    lake.arrive(*days, event(2, 70, region="us"))
    first, second, other = (Key(dt.date(2026, 1, day), region) for day, region in ((1, "eu"), (2, "eu"), (1, "us")))

    def refine_only(key: Key) -> dict[str, float]:
        list(refine(lake.dataset, storage=lake.storage, keys=[key]))
        return at(lake)

    assert refine_only(first) == {}
    assert refine_only(other) == {"us": 60}
    assert refine_only(second) == {"eu": 51, "us": 60}
    # What has come since is not passed either, though another part of the region goes on.
    lake.arrive(event(3, 80, day=1), event(4, 90, day=2))
    assert refine_only(second) == {"eu": 51, "us": 60}
    assert refine_only(first) == {"eu": 80, "us": 60}


def test_a_region_of_which_something_is_held_back_keeps_its_watermark(tmp_path: Path, catalog: Catalog) -> None:
    few = TableRule(id="few", metric="rowCount", bound=Bound(operator="mustBeLessThan", values=(3,)), severity="error")
    lake = Lake.at(tmp_path / "lake", catalog=catalog, table_rules=(few,))
    lake.arrive(event(0, 60))
    lake.refine()
    lake.arrive(event(1, 70), event(2, 71), event(3, 80, day=2), event(4, 90, region="us"))
    lake.refine()
    assert at(lake) == {"eu": 50, "us": 80}
    free = replace(lake, dataset=replace(lake.dataset, table_rules=()))
    free.refine()
    assert at(free) == {"eu": 70, "us": 80}


def test_a_silver_that_is_made_anew_has_the_same_watermarks(lake: Lake, tmp_path: Path) -> None:
    lake.arrive(event(0, 60), event(0, 30, region="us", partition=1))
    lake.arrive(event(1, 70), event(2, 20))
    lake.refine()
    before, rows = of(lake), lake.silver.rows().collect().drop("_batch_id").sort("_kafka_offset", "id")
    shutil.rmtree(lake.silver.uri)
    lake.refine()
    assert of(lake) == before
    assert lake.silver.rows().collect().drop("_batch_id").sort("_kafka_offset", "id").equals(rows)


def test_silver_of_before_gains_lateness_with_the_next_rows(lake: Lake) -> None:
    lake.arrive(event(0, 60))
    without: dict[str, Any] = {n: t for n, t in specs.silver(lake.dataset).schema.items() if n != specs.LATE}
    spec = replace(specs.silver(lake.dataset), schema=without)
    Table.open(spec, storage=lake.storage)
    lake.refine()
    lake.arrive(event(1, 45))
    lake.refine()
    rows = lake.silver.rows().collect()
    assert dict(rows.select("_kafka_offset", "_late_us").iter_rows()) == {0: None, 1: 15 * 60_000_000}
    assert at(lake) == {"eu": 50}


def test_the_command_shows_what_each_watermark_follows_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake.at(tmp_path / "lake", catalog=small_catalog(tmp_path / "contracts"))
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKEHOUSE_URI", lake.storage.uri)
    assert "no events in Silver yet" in shown()
    lake.arrive(event(0, 60), event(0, 49, partition=1), event(1, 30, region="us"))
    lake.refine()
    assert [tuple(row.values()) for row in json.loads(shown("readings", "--json"))] == [
        ("readings", "eu", "2026-01-01 00:50:00+00:00", False, 0, "2026-01-01 01:00:00+00:00", False),
        ("readings", "eu", "2026-01-01 00:50:00+00:00", False, 1, "2026-01-01 00:49:00+00:00", True),
        ("readings", "us", "2026-01-01 00:20:00+00:00", True, 0, "2026-01-01 00:30:00+00:00", False),
    ]
    words = [line.split() for line in shown().splitlines()]
    assert words[0] == ["readings"]
    assert words[2:] == [
        ["eu", "2026-01-01", "00:50:00", "0", "2026-01-01", "01:00:00"],
        ["1", "2026-01-01", "00:49:00", "idle"],
        ["us", "2026-01-01", "00:20:00", "silent", "0", "2026-01-01", "00:30:00"],
    ]


def shown(*arguments: str) -> str:
    told = CliRunner().invoke(app, ["watermarks", *arguments])
    assert told.exit_code == 0, told.output
    return told.stdout


def test_what_one_of_several_runs_has_not_read_yet_is_waited_for(lake: Lake) -> None:
    def say(**more: int) -> None:
        lake.bronze.commit(
            lake.bronze.rows().head(0).collect(), cursors={f"unread/{p[1:]}": n for p, n in more.items()}
        )

    lake.arrive(event(0, 60), event(1, 58, region="us"), event(0, 30, partition=1))
    say(p0=0, p1=1)
    lake.refine()
    assert at(lake) == {"eu": 20, "us": 20}  # it is further behind than anybody waits, and all the same not idle
    lake.arrive(event(2, 64), event(1, 44, region="us", partition=1))
    lake.refine()
    assert at(lake) == {"eu": 20, "us": 34}  # of us nothing was known there; eu is what it was
    lake.arrive(event(2, 66, region="us", partition=1))
    say(p0=0, p1=0)
    lake.refine()
    assert at(lake) == {"eu": 54, "us": 48}  # at its end; and has been silent on eu


def test_nothing_is_passed_before_a_kafka_partition_was_ever_read(lake: Lake) -> None:
    lake.arrive(event(0, 60))
    lake.bronze.commit(lake.bronze.rows().head(0).collect(), cursors={"unread/0": 0, "unread/1": 1})
    lake.refine()
    assert at(lake) == {}
