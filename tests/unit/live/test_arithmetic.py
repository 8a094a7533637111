"""The live run's own arithmetic is that of `lakehouse slo`, gaps included, and finds a figure that is not."""

# What pandas says of itself gives every time as one that may be none.
# pyright: reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

import dataclasses
import datetime as dt
import shutil
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


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """What the platform says, and the rows."""
    folder = tmp_path_factory.mktemp("live")
    contracts = folder / "contracts"
    contracts.mkdir()
    shutil.copy(REPOSITORY / "contracts" / "orders.odcs.yaml", contracts)
    storage = Storage.at(str(folder / "lake"))
    rows: list[dict[str, Any]] = []
    for place, ago in enumerate(TICKS):
        at = NOW - dt.timedelta(seconds=ago)
        late = place % 7 == 0
        for region, name, good, bad in (
            (None, "lag_seconds", int(not late), int(late)),
            ("eu", "freshness", 1, 0),
            (None, "latency_p99", 1000 + place, place % 5),
        ):
            values = {"at": at, "dataset": "orders", "region": region, "objective": name, DATE_COLUMN: at.date()}
            rows.append({**values, "value": float(place), "bound": 300.0, "good": good, "bad": bad})
    frame = pl.DataFrame(rows, schema=dict(specs.measurements().schema))
    table = Table.open(specs.measurements(), storage=storage)
    for part in (frame[:40], frame[40:]):
        table.commit(part, cursors={})
    said = status(load_catalog(contracts), storage=storage, now=NOW)
    return [dataclasses.asdict(one) for one in said], frame.to_pandas()


def test_it_is_the_platforms(found: tuple[list[dict[str, Any]], pd.DataFrame]) -> None:
    said, rows = found

    assert {one["name"] for one in said} == {"lag_seconds", "freshness", "latency_p99"}
    assert {one["unmeasured"] > 0 for one in said if one["name"] != "latency_p99"} == {True}
    assert list(differences(said, rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW))) == []


def test_a_moment_between_which_it_looked_is_enough(found: tuple[list[dict[str, Any]], pd.DataFrame]) -> None:
    said, rows = found
    minute = pd.Timedelta(minutes=1)
    earlier = rows[rows["at"] <= NOW]

    assert list(differences(said, earlier, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW) + minute)) == []


@pytest.mark.parametrize(
    "change",
    [{"good": 1}, {"bad": 10_000}, {"budget_left": 0.123}, {"burning": "other"}, {"burn": "5m"}, {"burn": "3d"}],
)
def test_a_figure_that_is_not_is_found(
    change: dict[str, Any], found: tuple[list[dict[str, Any]], pd.DataFrame]
) -> None:
    said, rows = found
    one = dict(said[0])
    for name, value in change.items():
        if name == "burn":
            one[name] = {**one[name], value: one[name][value] + 0.01}
        else:
            one[name] = not one[name] if name == "burning" else value

    (problem,) = differences([one, *said[1:]], rows, since=pd.Timestamp(NOW), until=pd.Timestamp(NOW))
    assert problem.startswith(f"orders/*/{one['name']}: ")
