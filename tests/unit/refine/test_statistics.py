"""Statistical rules: what is unusual for a table partition, or refers to nothing, is held back; too little history says nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Breaker, Statistic
from dagster_project.lake.keys import Key
from dagster_project.refine import statistics
from dagster_project.refine.silver import refine
from tests.unit.lakes import Lake, Message, reading

# Enough rows for a verdict on shares; never opens.
BREAKER = Breaker(bad_rate=1.0, min_rows=4, probe=dt.timedelta(microseconds=1))
VOLUME = Statistic(id="usual", kind="volume", back=4, at_least=0.5, at_most=2.0)
DRIFT = Statistic(id="drift", kind="nullDrift", column="level", back=7, at_most=0.3)
KNOWN = Statistic(id="known", kind="references", column="id", dataset="meters", key="id", at_most=0.0)
SAME_WEEKDAYS = (1, 8, 15)


def lake_of(tmp_path: Path, catalog: Catalog, rule: Statistic) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=catalog, statistics=(rule,), breaker=BREAKER)


def day(lake: Lake, number: int, *, rows: int, nulls: int = 0, region: str = "eu") -> dict[str, str]:
    """Let rows of a day arrive; returns what is held, and why."""
    offset = lake.cursor.next.get(0, 0)
    arrive(lake, [
        reading(offset + n, f"{region}{number}-{n}", day=number, region=region, level=None if n < nulls else 1)
        for n in range(rows)
    ])  # fmt: skip
    found = list(refine(lake.dataset, storage=lake.storage, keys=None))
    return {str(scope): why for one in found for scope, why in one.held.items()}


def arrive(lake: Lake, messages: Sequence[Message]) -> None:
    lake.arrive(*messages)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (4, "usual: 0.4, must be at least 0.5 of the rows of other such weekdays"),
        (5, ""),
        (20, ""),
        (21, "usual: 2.1, must be at most 2 of the rows of other such weekdays"),
    ],
)
def test_a_volume_is_held_against_the_same_weekday(tmp_path: Path, catalog: Catalog, rows: int, why: str) -> None:
    lake = lake_of(tmp_path, catalog, VOLUME)
    for number, usual in zip(SAME_WEEKDAYS, (9, 10, 15), strict=True):
        assert day(lake, number, rows=usual) == {}
    day(lake, 21, rows=1)  # another weekday, and
    day(lake, 15, rows=1, region="us")  # another region, say nothing
    assert day(lake, 22, rows=rows) == ({"2026-01-22/eu": why} if why else {})


def test_a_day_that_is_not_over_may_be_small(tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return dt.datetime(2026, 1, 22, 12, tzinfo=tz)

    lake = lake_of(tmp_path, catalog, VOLUME)
    for number in SAME_WEEKDAYS:
        day(lake, number, rows=10)
    with monkeypatch.context() as patch:
        patch.setattr(statistics, "dt", SimpleNamespace(**{**vars(dt), "datetime": Noon}))
        assert day(lake, 22, rows=1) == {}
        assert set(day(lake, 22, rows=25)) == {"2026-01-22/eu"}  # but not large
    assert len(lake.live()) == 31


def test_one_week_is_no_history(tmp_path: Path, catalog: Catalog) -> None:
    lake = lake_of(tmp_path, catalog, VOLUME)
    day(lake, 15, rows=10)
    assert day(lake, 22, rows=1) == {}


def test_a_share_of_nulls_must_not_drift(tmp_path: Path, catalog: Catalog) -> None:
    lake = lake_of(tmp_path, catalog, DRIFT)
    assert day(lake, 10, rows=10, nulls=1) == {}
    assert day(lake, 11, rows=10, nulls=9) == {}  # one day is no history
    lake = lake_of(tmp_path / "other", catalog, DRIFT)
    assert day(lake, 10, rows=10, nulls=1) == {}
    assert day(lake, 11, rows=10, nulls=1) == {}
    assert day(lake, 12, rows=3, nulls=3) == {}  # three rows are too few for a verdict
    found = day(lake, 13, rows=10, nulls=8)
    # 0.8 beside 5 of 23.
    assert found == {"2026-01-13/eu": "drift: 0.5826, must be at most 0.3 from the share of nulls of the days before"}
    assert set(day(lake, 14, rows=10, nulls=5)) == {"2026-01-13/eu"}
    assert day(lake, 13, rows=30) == {}  # what comes makes it usual again
    assert len(lake.live()) == 63


def test_values_must_be_in_the_dataset_that_they_refer_to(tmp_path: Path, catalog: Catalog) -> None:
    lake = lake_of(tmp_path, catalog, KNOWN)
    assert day(lake, 1, rows=2) == {
        "2026-01-01/eu": "known: 1, must be at most 0 of values that silver.meters does not have"
    }
    meters = replace(lake, dataset=replace(lake.dataset, name="meters", statistics=()))
    meters.cursor = replace(lake.cursor, start={}, next={}, batch_id=-1)
    meters.arrive(*(reading(n, f"eu1-{n}") for n in range(2)))
    meters.refine()
    assert day(lake, 2, rows=1, region="us") == {
        "2026-01-02/us": "known: 1, must be at most 0 of values that silver.meters does not have"
    }
    assert set(lake.live()) == {"eu1-0", "eu1-1"}


def test_a_statistic_that_only_warns_is_counted(tmp_path: Path, catalog: Catalog) -> None:
    lake = lake_of(tmp_path, catalog, replace(KNOWN, severity="warning"))
    lake.arrive(reading(0))
    (found,) = refine(lake.dataset, storage=lake.storage, keys=[Key(dt.date(2026, 1, 1), "eu")])
    assert (found.held, found.warnings) == ({}, {"known": 1})
    assert len(lake.live()) == 1
