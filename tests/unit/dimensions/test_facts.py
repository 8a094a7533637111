"""Facts are joined as of their own time, restated where history changes, and agree with the marts they share figures with."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.accounting.conformed import check_conformed
from dagster_project.contract.model import Conformed, MartInput
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.lifecycle.erase import erase
from dagster_project.lifecycle.find import find
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.gold import compute
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.conformed import conformed_sensor
from dagster_project.settings import PSEUDONYM_KEYS
from tests.unit.dimensions.shop import Change, Shop, change_message, order_message

DAY = 24 * 60
MARTS = (
    "dim_date",
    "dim_region",
    "dim_product",
    "dim_customer",
    "revenue_daily",
    "revenue_by_segment",
    "sales_by_category",
)


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, f"a:{base64.b64encode(b'a' * 32).decode()}")
        yield


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A customer of two days who becomes a business on the second, and one nobody has heard of."""
    found = Shop.at(tmp_path, datasets=["customers", "orders"], marts=MARTS)
    changes = [Change("a", 0, "eu"), Change("a", DAY + 60, "eu", "business")]
    found.lakes["customers"].arrive(*(change_message(offset, change) for offset, change in enumerate(changes)))
    found.lakes["orders"].arrive(
        order_message(0, "a", at=30, amount="1.00"),
        order_message(1, "a", at=DAY + 59, amount="2.00"),
        order_message(2, "a", at=DAY + 60, amount="4.00"),
        order_message(3, "b", at=DAY + 61, amount="8.00"),
        order_message(4, "a", at=DAY + 62, amount="16.00", status="cancelled"),
    )
    found.refine()
    found.compute()
    return found


def revenue(shop: Shop) -> dict[tuple[int, str], Decimal]:
    rows = shop.gold("revenue_by_segment").select("event_date", "segment", "revenue").rows()
    return {(date.day, segment): amount for date, segment, amount in rows if isinstance(date, dt.date)}


def test_an_order_counts_where_its_customer_was_when_ordering(shop: Shop) -> None:
    assert revenue(shop) == {
        (1, "consumer"): Decimal("1.00"),
        (2, "consumer"): Decimal("2.00"),
        (2, "business"): Decimal("4.00"),
        (2, "unknown"): Decimal("8.00"),
    }


def test_a_change_that_comes_late_restates_the_days_from_then_on_and_no_other(shop: Shop) -> None:
    shop.lakes["customers"].arrive(change_message(2, Change("a", DAY + 30, "eu", "vip")))
    shop.refine()
    done = shop.compute()
    assert (done["dim_customer"], done["revenue_by_segment"], done["revenue_daily"]) == (1, 1, 0)
    assert revenue(shop)[2, "vip"] == Decimal("2.00")
    assert (2, "consumer") not in revenue(shop)
    incremental = shop.gold("revenue_by_segment")
    shop.compute(afresh=True)
    assert shop.gold("revenue_by_segment").equals(incremental)


def test_after_a_delete_nobody_is_known(shop: Shop) -> None:
    shop.lakes["customers"].arrive(change_message(2, Change("a", DAY + 60, None)))
    shop.refine()
    shop.compute()
    assert revenue(shop)[2, "unknown"] == Decimal("12.00")
    assert (2, "business") not in revenue(shop)


def test_who_is_forgotten_is_in_no_dimension_and_their_orders_are_of_nobody(shop: Shop) -> None:
    customers = shop.catalog.dataset("customers")
    subject = Subject.of(customers, {"customer_id": "a"})
    found = find(customers, subject, storage=shop.storage)
    erase(customers, subject, found, by="me", catalog=shop.catalog, storage=shop.storage, report=lambda _: None)
    assert shop.gold("dim_customer").is_empty()
    assert revenue(shop) == {(1, "unknown"): Decimal("1.00"), (2, "unknown"): Decimal("14.00")}


def test_marts_that_are_computed_agree_and_those_that_wait_are_left_out(shop: Shop) -> None:
    mart = shop.catalog.mart("revenue_by_segment")
    found = check_conformed(mart, catalog=shop.catalog, storage=shop.storage)
    assert (found.problems, found.waiting, found.unknown) == ((), (), 1)
    assert (found.keys, found.totals) == (2 + 1 + 2, 4)
    found = check_conformed(shop.catalog.mart("sales_by_category"), catalog=shop.catalog, storage=shop.storage)
    assert (found.problems, found.waiting, found.keys, found.totals) == ((), (), 2 + 1 + 1, 2)
    shop.lakes["orders"].arrive(order_message(5, "b", at=DAY + 5, amount="32.00"))
    shop.refine()
    found = check_conformed(mart, catalog=shop.catalog, storage=shop.storage)
    assert found.problems == ()
    assert found.waiting == ("revenue_by_segment/2026-01-02/eu", "revenue_daily/2026-01-02/eu")
    assert found.totals == 2


def test_what_comes_from_a_mart_that_waits_is_left_out_too(shop: Shop) -> None:
    again = replace(
        shop.catalog.mart("revenue_daily"),
        name="again",
        sql="SELECT * FROM gold.revenue_daily",
        inputs=(MartInput(name="revenue_daily", kind="mart"),),
        conformed=(Conformed(column="revenue", mart="revenue_by_segment", to="revenue"),),
    )
    shop.catalog = replace(shop.catalog, marts=(*shop.catalog.marts, again))
    shop.compute()
    assert check_conformed(again, catalog=shop.catalog, storage=shop.storage).totals == 2
    shop.lakes["orders"].arrive(order_message(5, "b", at=DAY + 5, amount="32.00"))
    shop.refine()
    segments = shop.catalog.mart("revenue_by_segment")
    list(compute(segments, catalog=shop.catalog, storage=shop.storage, keys=None))
    found = check_conformed(again, catalog=shop.catalog, storage=shop.storage)
    assert (found.totals, found.waiting, found.problems) == (1, ("again/2026-01-02/eu",), ())
    shop.compute()
    assert check_conformed(again, catalog=shop.catalog, storage=shop.storage).totals == 2


def test_the_sensor_tells_once_for_each_change_of_a_table(shop: Shop) -> None:
    sensor = conformed_sensor(shop.catalog)

    def told(cursor: str | None) -> tuple[dict[str, bool], str]:
        lake = LakeResource(uri=shop.storage.uri)
        with dg.build_sensor_context(cursor=cursor, resources={"lake": lake}) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        assert result.cursor is not None
        found = {event.asset_key.path[-1]: event.passed for event in result.asset_events}  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] evaluations of checks
        return found, result.cursor

    first, cursor = told(None)
    facts = ("revenue_by_segment", "sales_by_category")
    assert first == dict.fromkeys(facts, True)
    assert told(cursor)[0] == {}
    gold = Table.open(specs.gold(shop.catalog.mart("dim_region")), storage=shop.storage)
    gold.commit(gold.rows().filter(pl.col("region") != "eu").collect(), remove=gold.files(), cursors={})
    assert told(cursor)[0] == dict.fromkeys(facts, False)
