"""The live run's own arithmetic is that of `lakehouse slo`, gaps included, and finds a figure that is not."""

# What pandas says of itself gives every time as one that may be none.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import DATE_COLUMN
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY
from dagster_project.slo.status import status
from tests.live.arithmetic import differences

NOW = dt.datetime(2026, 11, 23, 12, 0, 7, tzinfo=dt.UTC)
# Seconds ago at which it was measured: every 20 s, with a hole of five minutes, and older ones.
TICKS = (*range(3600 * 7, 3600 * 7 - 200, -20), *range(1200, 700, -20), *range(400, 0, -20))


Found = tuple[list[dict[str, Any]], pd.DataFrame]


def row(ago: float, region: str | None, name: str, good: int, bad: int, *, value: float) -> dict[str, Any]:
    at = NOW - dt.timedelta(seconds=ago)
    values = {"at": at, "dataset": "orders", "region": region, "objective": name, DATE_COLUMN: at.date()}
    return {**values, "value": value, "bound": 300.0, "good": good, "bad": bad}


def told(folder: Path, rows: list[dict[str, Any]]) -> Found:
    """What the platform says of rows, and these."""
    contracts = folder / "contracts"
    contracts.mkdir()
    shutil.copy(REPOSITORY / "contracts" / "orders.odcs.yaml", contracts)
    storage = Storage.at(str(folder / "lake"))
    frame = pl.DataFrame(rows, schema=dict(specs.measurements().schema))
    table = Table.open(specs.measurements(), storage=storage)
    for part in (frame[:40], frame[40:]):
        table.commit(part, cursors={})
    said = status(load_catalog(contracts), storage=storage, now=NOW)
    return [dataclasses.asdict(one) for one in said], frame.to_pandas()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Of a platform that has been there for hours."""
    rows: list[dict[str, Any]] = []
    for place, ago in enumerate(TICKS):
        late = place % 7 == 0
        for region, name, good, bad in (
            (None, "lag_seconds", int(not late), int(late)),
            ("eu", "freshness", 1, 0),
            ("eu", "availability", int(place % 11 > 0), int(place % 11 == 0)),
            (None, "latency_p99", 1000 + place, place % 5),
        ):
            rows.append(row(ago, region, name, good, bad, value=float(place)))
    return told(tmp_path_factory.mktemp("live"), rows)


def test_it_is_the_platforms(found: Found) -> None:
    said, rows = found

    assert {one["name"] for one in said} == {"lag_seconds", "freshness", "latency_p99", "availability"}
    assert {one["name"] for one in said if one["unmeasured"]} == {"availability"}
    assert list(differences(said, rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW))) == []


@pytest.mark.parametrize(("seconds", "burns"), [(80, False), (299, False), (300, True)])
def test_what_has_just_begun_burns_nothing_yet(tmp_path: Path, seconds: int, burns: bool) -> None:
    """Whatever was measured was bad."""
    said, rows = told(tmp_path, [row(ago, None, "lag_seconds", 0, 1, value=999.0) for ago in range(seconds, 0, -20)])

    assert [one["burning"] for one in said] == [burns]
    assert list(differences(said, rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW))) == []
    (problem,) = differences(
        [{**said[0], "burning": not burns}], rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW)
    )
    assert problem == f"orders/*/lag_seconds: burning is {not burns}, and by the records {burns}"


def test_a_moment_between_which_it_looked_is_enough(found: Found) -> None:
    said, rows = found
    minute = pd.Timedelta(minutes=1)
    earlier = rows[rows["at"] <= NOW]

    assert list(differences(said, earlier, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW) + minute)) == []


@pytest.mark.parametrize(
    "change",
    [{"good": 1}, {"bad": 10_000}, {"budget_left": 0.123}, {"burning": "other"}, {"burn": "5m"}, {"burn": "3d"}],
)
def test_a_figure_that_is_not_is_found(change: dict[str, Any], found: Found) -> None:
    said, rows = found
    one = dict(said[0])
    for name, value in change.items():
        if name == "burn":
            one[name] = {**one[name], value: one[name][value] + 0.01}
        else:
            one[name] = not one[name] if name == "burning" else value

    (problem,) = differences([one, *said[1:]], rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW))
    assert problem.startswith(f"orders/*/{one['name']}: ")
