"""One line a batch, where people and Dagster look for it, with what an independent count of the tables gives."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.telemetry import sink
from dagster_project.telemetry.canonical import Line, canonical
from dagster_project.telemetry.run import run
from dagster_project.telemetry.sink import FILE, FORMER, Sink
from tests.unit.lakes import Lake, reading, tombstone

RUN = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
SECRET = "nobody-should-read-this"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_commit_is_a_line_and_says_what_the_tables_say(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.arrive(reading(0, SECRET), reading(1, "b", level=-1), reading(2, "c", region="us", at=60, day=2))
    lake.arrive(reading(3, "d", at=30, region="us", day=2), tombstone(4, SECRET, at=90))  # one is late

    with run(RUN, asset="catch_up/readings", home=tmp_path):
        lake.refine()
        lake.compute()

    text = capsys.readouterr().err
    assert (tmp_path / "logs" / FILE).read_text() == text
    assert SECRET not in text
    silver, gold = lines(text)
    assert (silver["event"], silver["layer"], silver["table"]) == ("batch", "silver", "readings")
    assert (silver["version"], silver["first_batch_id"], silver["batch_id"]) == (lake.silver.version, 0, 1)
    assert silver["rows_in"] == len(lake.bronze.rows().collect()) == 5
    added = lake.silver.rows().collect()
    assert silver["rows_out"] == len(added)
    assert silver["quarantined"] == len(lake.quarantine.rows().collect()) == 1
    assert silver["late"] == added["_late_us"].drop_nulls().len() == 1
    assert silver["bytes"] == sum(
        path.stat().st_size for path in (tmp_path / "lake" / "bronze" / "readings").rglob("*.parquet")
    )
    assert (gold["layer"], gold["table"], gold["version"]) == ("gold", "levels", lake.gold.version)
    assert gold["inputs"] == {"silver/readings": lake.silver.version}
    assert gold["rows_out"] == len(lake.gold.rows().collect())
    for line in (silver, gold):
        assert line["run_id"] == RUN
        assert line["cpu_s"] >= 0
        assert line["commit_s"] > 0
        assert "poison" not in line  # what does not apply is not said
    assert silver["fetch_s"] > 0
    assert gold["compute_s"] > 0


def test_a_hold_is_counted(lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake.arrive(*(reading(offset, f"r{offset}", level=-1) for offset in range(200)))
    with run(RUN, asset="silver/readings", home=tmp_path):
        lake.refine()
    (line,) = lines(capsys.readouterr().err)
    assert line["held"] == 1
    assert line["rows_out"] == 0


def test_a_persons_command_writes_no_lines(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    lake.arrive(reading(0))
    lake.refine()
    assert capsys.readouterr().err == ""


def test_cpu_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = Line(layer="gold", table="levels", rows_out=0, commit_s=0.0)
    with run(RUN, asset="gold/levels", home=tmp_path):
        sum(number * number for number in range(2_000_000))
        canonical(line)
        canonical(line)
    worked, idle = lines(capsys.readouterr().err)
    assert worked["cpu_s"] > 10 * idle["cpu_s"]


def test_a_producers_endless_correlation_id_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run(RUN, asset="bronze/readings", home=tmp_path):
        canonical(Line(layer="bronze", table="r", rows_out=1, commit_s=0.0, correlation_ids=["a" * 5000, "b"]))
    (line,) = lines(capsys.readouterr().err)
    assert [len(text) for text in line["correlation_ids"]] == [128, 1]


def test_the_file_stays_within_its_bounds_whoever_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 20_000
    monkeypatch.setattr(sink, "_MOST_BYTES", most)
    record = json.dumps({"text": "x" * 500})

    def write(count: int) -> None:
        own = Sink(tmp_path)
        for _ in range(count):
            own.info(record)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [100] * 4))

    files = [tmp_path / FILE, tmp_path / FORMER]
    # The last line may have filled the file, which then is the former one.
    assert (tmp_path / FORMER).exists()
    sizes = [path.stat().st_size for path in files if path.exists()]
    assert max(sizes) <= most + 5 * len(record)
    assert {line for path in files if path.exists() for line in path.read_text().splitlines()} == {record}
    assert {path.name for path in tmp_path.iterdir()} <= {FILE, FORMER, "batches.lock"}


def test_a_full_file_is_kept_once_it_is_turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink, "_MOST_BYTES", 30)
    own = Sink(tmp_path)
    for text in ("first line of thirty characters", "second"):
        own.info(text)
    assert (tmp_path / FORMER).read_text() == "first line of thirty characters\n"
    assert (tmp_path / FILE).read_text() == "second\n"
    own._turn(tmp_path / FILE)  # as another process does that has seen the file full, and comes later
    assert (tmp_path / FORMER).read_text() == "first line of thirty characters\n"


def test_a_folder_that_cannot_be_written_fails_no_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "logs").write_text("a file, where a folder should be")
    with caplog.at_level(logging.WARNING), run(RUN, asset="gold/levels", home=tmp_path):
        canonical(Line(layer="gold", table="levels", rows_out=0, commit_s=0.0))
    assert len(lines(capsys.readouterr().err)) == 1
    assert "was not written" in caplog.text


def test_a_bronze_commit_says_what_is_counted_of_it(lake: Lake) -> None:
    from dagster_project.ingest.bronze import _told

    lake.arrive(reading(0), reading(1, "b", at=60, day=2), reading(2, "c", at=30, day=2))
    rows = lake.bronze.rows().collect().with_columns(pl.Series("_rescued", [None, "{}", None], pl.String))
    assert _told(rows) == {"poison": 0, "drifted": 1, "late": 1}


def test_every_field_is_explained() -> None:
    assert Line.__doc__ is not None
    for field in fields(Line):
        assert f"        {field.name}: " in Line.__doc__ or field.name in {"layer", "table"}, field.name
