"""The platform's tables about itself keep forty days, and lose the others whole."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.errors import StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lifecycle.ageing import age

NOW = dt.datetime(2026, 3, 31, 0, 0, 1, tzinfo=dt.UTC)
SPEC = specs.measurements()


def written(storage: Storage, *days_ago: int) -> Table:
    table = Table.open(SPEC, storage=storage)
    at = [NOW - dt.timedelta(days=days) for days in days_ago]
    rows = pl.DataFrame({"at": at, "event_date": [time.date() for time in at]})
    missing = [pl.lit(None, dtype).alias(name) for name, dtype in SPEC.schema.items() if name not in rows.columns]
    table.commit(rows.with_columns(missing), cursors={"delivered/x": len(days_ago)})
    return table


def left(storage: Storage) -> list[int]:
    table = Table.find(SPEC, storage=storage)
    assert table is not None
    days = table.rows().select((pl.lit(NOW.date()) - pl.col("event_date")).dt.total_days()).collect().to_series()
    return sorted(days.to_list())


def test_whole_dates_go_and_the_rest_stays(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    assert age(SPEC, storage=storage, now=NOW) is None
    written(storage, 0, 1, 40, 41, 41, 90)
    told = age(SPEC, storage=storage, now=NOW, rehearse=True)
    assert told is not None
    assert left(storage) == [0, 1, 40, 41, 41, 90]
    assert age(SPEC, storage=storage, now=NOW) == told
    assert (told.dates, told.files, told.rows) == (2, 2, 3)
    assert left(storage) == [0, 1, 40]
    assert age(SPEC, storage=storage, now=NOW) is None
    table = Table.find(SPEC, storage=storage)
    assert table is not None
    assert table.cursors()["delivered/x"] == 6  # how far events were counted is not forgotten


@pytest.mark.parametrize("rivals", [1, 5])
def test_it_tries_again_where_another_took_files_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rivals: int
) -> None:
    storage = Storage.at(str(tmp_path))
    written(storage, 0, 41)
    commit, left_over = Table.commit, [rivals]

    def rival(self: Table, *args: Any, **named: Any) -> int:
        if left_over[0]:
            left_over[0] -= 1
            raise StaleCursorError("another writer")
        return commit(self, *args, **named)

    monkeypatch.setattr(Table, "commit", rival)
    if rivals == 1:
        assert age(SPEC, storage=storage, now=NOW) is not None
        assert left(storage) == [0]
    else:
        with pytest.raises(StaleCursorError):
            age(SPEC, storage=storage, now=NOW)
        assert left(storage) == [0, 41]
