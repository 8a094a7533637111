"""Marts use the keys of their dimensions and agree on shared measures; whatever does not is named."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from dagster_project.accounting.conformed import Conformity, conformity
from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from tests.unit.dimensions.shop import contracts

FIRST, SECOND = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
NAMES = ("dim_date", "dim_region", "dim_customer", "revenue_daily", "revenue_by_segment")
CUSTOMER = {"customer_key": "k", "customer_id": "c", "region": "eu", "country": "DE", "is_current": True}
FROM = {"valid_from": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "valid_to": None}
DAY = {"year": 2026, "quarter": 1, "month": 1, "iso_year": 2026, "iso_week": 1, "weekday": 4}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    project = contracts()
    return replace(project, marts=tuple(mart for mart in project.marts if mart.name in NAMES))


def write(catalog: Catalog, storage: Storage, name: str, *rows: Mapping[str, object]) -> None:
    mart = catalog.mart(name)
    table = Table.open(specs.gold(mart), storage=storage)
    table.commit(pl.DataFrame(rows, schema=polars_schema(mart.columns)), remove=table.files(), cursors={})


def daily(day: dt.date, region: str, revenue: str, orders: int = 1) -> dict[str, object]:
    money = {"currency": "EUR", "revenue": Decimal(revenue)}
    return {"event_date": day, "region": region, "orders": orders, "cancelled": 0, "units": 1, **money}


def by_segment(day: dt.date, region: str, segment: str, revenue: str, orders: int = 1) -> dict[str, object]:
    money = {"currency": "EUR", "revenue": Decimal(revenue)}
    return {"event_date": day, "region": region, "segment": segment, "orders": orders, **money}


@pytest.fixture
def storage(tmp_path: Path, catalog: Catalog) -> Storage:
    """Two days of orders, in agreement; one order is of nobody known."""
    found = Storage.at(str(tmp_path))
    days = ({"date_key": day, "is_weekend": False, "is_month_end": False, **DAY} for day in (FIRST, SECOND))
    write(catalog, found, "dim_date", *days)
    zone = {"region_key": 1, "region": "eu", "name": "Europe", "time_zone": "Europe/Berlin", "currency": "EUR"}
    write(catalog, found, "dim_region", zone, {**zone, "region_key": 2, "region": "us"})
    write(catalog, found, "dim_customer", *({**CUSTOMER, **FROM, "segment": name} for name in ("vip", "consumer")))
    write(catalog, found, "revenue_daily", daily(FIRST, "eu", "7.50", 3), daily(SECOND, "us", "0.10"))
    write(catalog, found, "revenue_by_segment", *SEGMENTS, by_segment(SECOND, "us", "unknown", "0.10"))
    return found


SEGMENTS = (by_segment(FIRST, "eu", "vip", "5.00", 2), by_segment(FIRST, "eu", "consumer", "2.50"))


def of(catalog: Catalog, storage: Storage, **stale: Collection[Key]) -> Conformity:
    tables = {f"gold/{name}": Table.find(specs.gold(catalog.mart(name)), storage=storage) for name in NAMES}
    everywhere = {name: stale.get(name, ()) for name in NAMES}
    return conformity(catalog.mart("revenue_by_segment"), catalog=catalog, tables=tables, stale=everywhere)


def test_marts_that_agree(catalog: Catalog, storage: Storage) -> None:
    # Two days, two regions, two segments and an order of nobody; of two days orders and revenue.
    assert of(catalog, storage) == Conformity(keys=6, unknown=1, totals=4)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (by_segment(dt.date(2012, 1, 1), "eu", "vip", "0.00", 0), "1 event_date that dim_date.date_key does not have: 2012-01-01"),
        (by_segment(SECOND, "mars", "vip", "0.00", 0), "1 region that dim_region.region does not have: mars"),
        (by_segment(SECOND, "us", "staff", "0.00", 0), "1 segment that dim_customer.segment does not have: staff"),
        (by_segment(SECOND, "us", "vip", "0.01", 0), "1 revenue that does not add up to revenue_daily.revenue: 2026-01-02/us/EUR (0.11, there 0.10)"),
        (by_segment(SECOND, "us", "vip", "0.00", 4), "1 orders that does not add up to revenue_daily.orders: 2026-01-02/us/EUR (5, there 1)"),
        (by_segment(SECOND, "eu", "vip", "3.00", 0), "1 revenue that does not add up to revenue_daily.revenue: 2026-01-02/eu/EUR (3.00, there 0)"),
    ],
)  # fmt: skip
def test_what_does_not_is_named(catalog: Catalog, storage: Storage, row: dict[str, object], problem: str) -> None:
    write(catalog, storage, "revenue_by_segment", *SEGMENTS, by_segment(SECOND, "us", "unknown", "0.10"), row)
    assert of(catalog, storage).problems == (problem,)


def test_what_only_the_other_mart_has_is_named(catalog: Catalog, storage: Storage) -> None:
    write(catalog, storage, "revenue_by_segment", *SEGMENTS)
    assert of(catalog, storage).problems == (
        "1 revenue that does not add up to revenue_daily.revenue: 2026-01-02/us/EUR (0, there 0.10)",
        "1 orders that does not add up to revenue_daily.orders: 2026-01-02/us/EUR (0, there 1)",
    )


def test_what_is_still_to_be_computed_is_left_out(catalog: Catalog, storage: Storage) -> None:
    late = Key(SECOND, "us")
    write(catalog, storage, "revenue_daily", daily(FIRST, "eu", "7.50", 3), daily(SECOND, "us", "9.99"))
    assert len(of(catalog, storage).problems) == 1
    assert of(catalog, storage, revenue_daily=[late]) == Conformity(
        keys=6, unknown=1, totals=2, waiting=("revenue_daily/2026-01-02/us",)
    )
    write(catalog, storage, "revenue_by_segment", *SEGMENTS, by_segment(SECOND, "us", "staff", "1.00"))
    assert of(catalog, storage, revenue_by_segment=[late]).problems == ()


def test_a_mart_that_was_never_computed_waits(catalog: Catalog, tmp_path: Path) -> None:
    empty = Storage.at(str(tmp_path / "empty"))
    write(catalog, empty, "revenue_by_segment", *SEGMENTS)
    found = of(catalog, empty)
    assert (found.problems, found.totals) == ((), 0)
    assert found.waiting == ("dim_customer", "dim_date", "dim_region", "revenue_daily")
