"""What the page says of windows is what the marts hold."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Mart
from dagster_project.dashboard.windows import StateReader, chart, window_marts
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.serving.reader import Served
from dagster_project.settings import REPOSITORY

DAY = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture(scope="session")
def project() -> Catalog:
    return load_catalog(REPOSITORY / "contracts")


@pytest.fixture
def mart(project: Catalog) -> Mart:
    return project.mart("revenue_1m")


def rows(mart: Mart, *found: tuple[int, str, str, int, str]) -> pl.DataFrame:
    """Windows: minute of the day, region, currency, orders, state."""
    made = [
        {
            "event_date": (DAY + dt.timedelta(minutes=minute)).date(),
            "region": region,
            "currency": currency,
            "window_start": DAY + dt.timedelta(minutes=minute),
            "window_end": DAY + dt.timedelta(minutes=minute + 1),
            "orders": orders,
            "revenue": f"{orders}.10",
            "late_rows": 2 if state == "restated" else 0,
            "restated_at": DAY + dt.timedelta(days=1, minutes=minute) if state == "restated" else None,
            "state": state,
        }
        for minute, region, currency, orders, state in found
    ]
    schema = dict(specs.gold(mart).schema)
    text = {**schema, "revenue": pl.String()}
    return pl.DataFrame(made, schema=text).with_columns(pl.col("revenue").cast(schema["revenue"])).select(schema.keys())


def served(found: pl.DataFrame) -> Served:
    return Served(rows=found, version=7, published_at=None, source="gold", stale_since=None, whole=True)


def test_figures_by_region_and_window(mart: Mart) -> None:
    found = chart(
        mart,
        served(rows(mart, (0, "eu", "EUR", 3, "closed"), (1, "eu", "EUR", 5, "restated"), (1, "us", "USD", 1, "open"))),
    )
    assert found is not None
    assert found.at == (int(DAY.timestamp()), int(DAY.timestamp()) + 60)
    assert (found.states, found.window_s, found.version, found.left_out) == (("closed", "open"), 60, 7, 0)
    lines = {measure.name: {one.label: one.values for one in measure.series} for measure in found.measures}
    assert lines == {
        "orders": {"eu · EUR": ("3", "5"), "us · USD": (None, "1")},
        "revenue": {"eu · EUR": ("3.10", "5.10"), "us · USD": (None, "1.10")},
    }


def test_only_the_newest_windows_and_the_fullest_lines(mart: Mart) -> None:
    many = [(minute, "eu", "EUR", minute, "closed") for minute in (0, *range(30, 100))]
    regions = [(minute, f"r{number}", "EUR", 1, "closed") for number in range(9) for minute in range(99 - number, 100)]
    found = chart(mart, served(rows(mart, *many, *regions)))
    assert found is not None
    assert found.at[0] == int((DAY + dt.timedelta(minutes=40)).timestamp())
    assert (len(found.at), found.left_out) == (60, 4)
    labels = [one.label for one in found.measures[0].series]
    assert labels == ["eu · EUR", *(f"r{number} · EUR" for number in range(4, 9))]


def test_without_rows_there_is_no_chart(mart: Mart) -> None:
    assert chart(mart, served(rows(mart))) is None


def test_marts_of_windows_are_those_that_say_when_a_window_begins(project: Catalog) -> None:
    assert {mart.name for mart in window_marts(project)} == {"revenue_1m", "traffic_hourly"}
    assert not window_marts(replace(project, marts=()))


def test_windows_are_counted_once_by_state_also_when_a_file_is_replaced(
    project: Catalog, mart: Mart, tmp_path: Path
) -> None:
    storage = Storage.at(str(tmp_path))
    gold = Table.open(specs.gold(mart), storage=storage)
    reader = StateReader(replace(project, marts=(mart,)), storage=storage)
    first = rows(mart, (0, "eu", "EUR", 3, "closed"), (1, "eu", "EUR", 5, "restated"), (1440, "us", "USD", 1, "open"))
    gold.commit(first, cursors={})
    assert counts(reader) == dict(Counter(first["state"]))
    second = rows(mart, (0, "eu", "EUR", 3, "restated"), (1, "eu", "EUR", 5, "restated"))
    gold.commit(second, cursors={}, remove=gold.files().filter(pl.col("region") == "eu"))
    assert counts(reader) == {"restated": 2, "open": 1}
    (state,) = reader.read()
    assert (state.late_rows, state.restated_at) == (4, DAY + dt.timedelta(days=1, minutes=1))


def counts(reader: StateReader) -> Mapping[str, int]:
    (state,) = reader.read()
    found = {"open": state.open, "closed": state.closed, "restated": state.restated}
    return {name: count for name, count in found.items() if count}
