"""What is measured of datasets and marts: each figure worked out by hand from rows written here."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from dagster_project.cli import route as command
from dagster_project.cli.main import app
from dagster_project.cli.output import console
from dagster_project.cost.demand import Demand, demands
from dagster_project.cost.recorder import Spending
from dagster_project.cost.throughput import Throughput
from dagster_project.lake import specs
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, reading, small_catalog, write_project

NOW = dt.datetime(2026, 5, 8, 12, tzinfo=dt.UTC)
BENCHMARK = Throughput(
    source="a test", events_per_core_s=100_000, spark_events_per_core_s=20_000, stored_bytes=100, puts=0, gets=0
)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=small_catalog(tmp_path / "contracts"))


def ran(
    storage: Storage, asset: str, at: dt.datetime, *, took: dt.timedelta, events: int, cpu: float, **more: Any
) -> None:
    """A run that ended then."""
    spec = specs.costs()
    spent = Spending(
        asset=asset,
        datasets=("readings",),
        events=events,
        used=Used(wall_seconds=took.total_seconds(), cpu_seconds=cpu),
    )
    row = {**vars(spent), **vars(spent.used), **more, "at": at, "run_id": "1", "event_date": at.date()}
    rows = pl.DataFrame([{name: row[name] for name in spec.schema}], schema=dict(spec.schema))
    Table.open(spec, storage=storage).commit(rows, cursors={})


def found(
    lake: Lake, *, lag: Mapping[str, int] | None = None, benchmark: Throughput | None = BENCHMARK
) -> tuple[dict[str, Demand], float]:
    measured, busy = demands(lake.catalog, storage=lake.storage, benchmark=benchmark, now=NOW, lag=lag or {})
    return {one.name: one for one in measured}, busy


def test_a_stream_is_worked_on_all_day(lake: Lake) -> None:
    """Four days, Bronze at work in runs of an hour with a minute's pause, Silver for a moment after each."""
    took = dt.timedelta(minutes=59)
    for hour in range(4 * 24):
        at = NOW - dt.timedelta(days=4) + hour * HOUR + took
        ran(lake.storage, "bronze/readings", at, took=took, events=1000, cpu=3.0)
        ran(lake.storage, "silver/readings", at, took=dt.timedelta(seconds=1), events=1000, cpu=0.5)
    own, busy = found(lake)
    silver = own["readings"]
    days = 4 - 59 / 1440  # from the end of the first run on
    assert silver.events == pytest.approx(96_000 / days)
    assert silver.core_us == pytest.approx(500)
    assert silver.size.core_seconds == pytest.approx(48 / days)
    assert silver.size.spark_times == 5
    assert (silver.cadence.window, silver.cadence.peak) == (24, pytest.approx(1))
    # 48 × 5 core-seconds in four days on eight cores are a moment, and freshness asks for a job each hour of the 24.
    assert silver.cadence.starts == pytest.approx((96 - 1 / 60) / days)
    assert silver.cadence.hours == pytest.approx((96 - 1 / 60) / days / 60)
    assert silver.before == "local"
    assert busy == pytest.approx(96 * 3 / days / 86_400)


def test_bursts_are_counted_with_the_time_that_freshness_leaves(lake: Lake) -> None:
    """Two bursts a day of a quarter of an hour each, of several runs with short pauses; one of them three times as large."""
    for day in range(1, 3):
        for hour, events in ((2, 1_000_000), (14, 3_000_000)):
            at = NOW - dt.timedelta(days=day) + dt.timedelta(hours=hour - 12)
            for minute in (5, 15):  # a pause of five minutes between
                ran(
                    lake.storage,
                    "bronze/readings",
                    at + dt.timedelta(minutes=minute),
                    took=dt.timedelta(minutes=5),
                    events=events // 2,
                    cpu=1.0,
                )
            ran(lake.storage, "silver/readings", at + HOUR, took=HOUR, events=events, cpu=events * 0.01)
    own, _ = found(lake)
    cadence, size = own["readings"].cadence, own["readings"].size
    first = NOW - dt.timedelta(days=2) + dt.timedelta(hours=2 - 12, minutes=5)
    days = (NOW - first) / dt.timedelta(days=1)
    bursts, arriving = 4 / days, 4 * 0.25 / days
    assert cadence.window == pytest.approx(arriving + bursts * 1.0)  # an hour of freshness for each
    assert size.core_seconds == pytest.approx(80_000 / days)
    work = 80_000 / days * 5 / 3600 / 0.7 / 8
    assert work > cadence.window
    assert cadence.hours == pytest.approx(cadence.window)
    assert cadence.starts == pytest.approx(bursts)
    assert cadence.peak == pytest.approx(1.5)  # three of one, three times; one of the other


def test_what_waits_is_work_as_well(lake: Lake) -> None:
    lake.arrive(*(reading(number, str(number)) for number in range(30)))
    own, _ = found(lake, lag={"readings": 970})
    assert own["readings"].backlog == 1000
    # Nothing has run yet: the benchmark's 10 µs for an event.
    assert (own["readings"].measured, own["readings"].core_us) == (0, 10)
    assert own["readings"].size.core_seconds == pytest.approx(0.01)
    assert own["readings"].before is None
    lake.refine()
    own, _ = found(lake)
    assert (own["readings"].backlog, own["levels"].backlog) == (0, 30)
    lake.compute()
    assert found(lake)[0]["levels"].backlog == 0


def test_the_largest_part_of_a_mart_is_that_of_its_fullest_table_partition(lake: Lake) -> None:
    events = [reading(number, str(number), day=1 if number < 27 else 2) for number in range(30)]
    lake.arrive(*events)
    lake.refine()
    own, _ = found(lake)
    stored = sum(lake.silver.files()["size_bytes"])
    assert own["levels"].size.largest_bytes == pytest.approx(stored * 27 / 30)
    assert own["readings"].size.largest_bytes == 0


def test_what_ran_on_spark_is_reckoned_as_what_it_takes_here(lake: Lake) -> None:
    at = NOW - HOUR
    ran(lake.storage, "silver/readings", at, took=HOUR, events=1000, cpu=1.0)
    ran(lake.storage, "silver/readings", at + HOUR / 2, took=HOUR, events=4000, cpu=900.0, engine="glue")
    own, busy = found(lake)
    assert own["readings"].core_us == pytest.approx(1000)
    assert own["readings"].size.core_seconds == pytest.approx(5.0)  # a day's, though it was an hour
    assert own["readings"].before == "glue"
    assert busy == 0


def test_runs_of_the_time_before_there_were_engines_were_in_process(lake: Lake) -> None:
    ran(lake.storage, "silver/readings", NOW - HOUR, took=HOUR, events=1000, cpu=1.0, engine=None)
    own, _ = found(lake)
    assert (own["readings"].measured, own["readings"].before) == (1, "local")


def test_without_a_benchmark_nothing_is_said_of_spark(lake: Lake) -> None:
    own, _ = found(lake, benchmark=None)
    assert (own["readings"].size.spark_times, own["readings"].core_us) == (None, 0)


def test_the_command_shows_each_dataset_and_mart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path / "contracts", {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": MART, "levels.sql": SQL})
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_URI", str(tmp_path / "lake"))
    monkeypatch.setattr(command, "_lag", lambda *_: {"readings": 2_000_000_000_000})
    monkeypatch.setattr(console, "width", 200)

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["cost", "route", *arguments])

    shown = run()
    assert shown.exit_code == 0, shown.output
    assert "readings: EMR: in-process does not keep up" in shown.stdout
    assert "levels: in-process: 0 core-seconds" in shown.stdout
    told = json.loads(run("readings", "--engine", "local", "--cores", "8", "--memory-gib", "16", "--json").stdout)
    assert told["machine"] == {"cores": 8, "memory_bytes": 16 * 2**30, "busy": 0}
    (only,) = told["routes"]
    assert only["route"]["engine"] == "local"
    assert "as --engine says; by itself it would be EMR" in only["route"]["why"]
    results = json.loads((REPOSITORY / "benchmarks" / "results" / "latest.json").read_text("utf-8"))["systems"]
    core_us = 1e6 / results["ours"]["events_per_core_s"]
    assert only["demand"]["size"]["core_seconds"] == pytest.approx(2e12 * core_us / 1e6)
    monkeypatch.setenv("LAKEHOUSE_ENGINE", "glue")
    (only,) = json.loads(run("levels", "--json").stdout)["routes"]
    assert only["route"]["engine"] == "glue"
    assert "as LAKEHOUSE_ENGINE says; by itself it would be in-process" in only["route"]["why"]
    assert "no dataset or mart 'reading'" in run("reading").stderr
    assert "engine 'flink'" in run("--engine", "flink").stderr
