"""No file is larger than the bound, however large a share of the rows one table partition has."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import polars as pl
import pytest

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.lake import compaction, files
from dagster_project.lake.compaction import compact
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

SPEC = TableSpec(
    layer="gold",
    name="t",
    schema={"id": pl.Int64(), "at": TIMESTAMP, "text": pl.String(), "event_date": pl.Date(), "region": pl.String()},
    partition_by=("event_date", "region"),
    statistics=("at",),
)
DAYS = [dt.date(2026, 1, day) for day in range(1, 11)]


def skewed(rows: int, first: int = 0) -> pl.DataFrame:
    """Rows of which nine in ten are of one table partition."""
    dates = [DAYS[0] if number % 10 else DAYS[1 + number // 10 % 9] for number in range(rows)]
    return pl.DataFrame(
        {
            "id": range(first, first + rows),
            "at": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=number) for number in range(rows)],
            "text": [random.Random(number).randbytes(50).hex() for number in range(rows)],
            "event_date": dates,
            "region": ["eu"] * rows,
        },
        schema=dict(SPEC.schema),
    )


def ids(table: Table) -> list[int]:
    return sorted(table.rows().select("id").collect()["id"])


def test_a_skewed_batch_is_written_as_files_of_bounded_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FILE_ROWS", 250)
    table = Table.open(SPEC, storage=Storage.at(str(tmp_path)))
    table.commit(skewed(1_000), cursors={})
    listed = table.files()
    assert max(listed["num_records"].to_list()) <= 250
    assert listed.filter(pl.col("event_date") == DAYS[0]).height == 4  # of 900 rows
    assert listed.filter(pl.col("event_date") != DAYS[0]).height == 9  # one a table partition, as ever
    assert ids(table) == list(range(1_000))


def test_a_file_is_bounded_in_bytes_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FILE_BYTES", 20_000)
    table = Table.open(SPEC, storage=Storage.at(str(tmp_path)))
    table.commit(skewed(1_000), cursors={})
    sizes = table.files()["size_bytes"]
    assert sizes.sum() > 50_000
    assert max(sizes.to_list()) <= 20_000
    assert ids(table) == list(range(1_000))


def test_each_file_tells_its_own_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_FILE_ROWS", 250)
    table = Table.open(SPEC, storage=Storage.at(str(tmp_path)))
    table.commit(skewed(1_000), cursors={})
    for file in table.files().iter_slices(1):
        moments = table.rows(file).collect()["at"]
        assert (file["min.at"].item(), file["max.at"].item()) == (moments.min(), moments.max())


def test_compaction_keeps_to_the_bound_and_comes_to_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_ROWS", 500), ("_BYTES", 1 << 20)):
        monkeypatch.setattr(compaction, name, value)
    monkeypatch.setattr(files, "_FILE_ROWS", 500)
    storage = Storage.at(str(tmp_path))
    table = Table.open(SPEC, storage=storage)
    for number in range(20):
        table.commit(skewed(100, first=100 * number), cursors={})
    done = list(compact(SPEC, storage=storage))
    table.refresh()
    assert done
    assert max(table.files()["num_records"].to_list()) <= 500
    assert table.files().filter(pl.col("event_date") == DAYS[0]).height <= 8  # of 20; 1,800 rows
    assert ids(table) == list(range(2_000))
