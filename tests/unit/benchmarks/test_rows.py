"""The rules that peers of the benchmark apply by hand are those of the contract."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from random import Random

import pyarrow as pa
import pytest

from benchmarks.peers.rows import BROKEN, GOLD, SILVER, decode, revenue_daily
from dagster_project.sources.order import NOTES, place_order, to_json
from dagster_project.sources.poison import TROUBLES, poison

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)


def test_all_poison_is_refused() -> None:
    rng = Random(1)
    seen: set[str] = set()
    for _ in range(1000):
        event = poison(rng, place_order(rng, at=NOW), at=NOW, headers=())
        seen.add(event.trouble)
        with pytest.raises(BROKEN):
            decode(json.loads(event.value))
    assert seen == set(TROUBLES)


def test_orders_are_taken_to_the_cent_and_the_microsecond() -> None:
    rng = Random(2)
    for _ in range(100):
        order = place_order(rng, at=NOW + dt.timedelta(microseconds=1))
        sent = json.loads(to_json(order.event()), parse_float=Decimal)
        # Floats as a fast parser gives them must come to the same cents.
        row = decode(json.loads(to_json(order.event())))
        assert row["amount"] == sent["amount"]
        assert [item["unit_price"] for item in row["items"]] == [item["unit_price"] for item in sent["items"]]
        assert row["ordered_at"] == NOW + dt.timedelta(microseconds=1)
        assert row["note"] in (None, *NOTES)
        assert row["event_date"] == NOW.date()


def test_a_mart_has_one_row_a_group_in_the_contracts_types() -> None:
    orders = [
        {"order_id": "1", "status": "paid", "amount": Decimal("10.25"), "quantity": 3},
        {"order_id": "2", "status": "shipped", "amount": Decimal("0.50"), "quantity": 4},
        {"order_id": "3", "status": "cancelled", "amount": Decimal("99.00"), "quantity": 5},
    ]
    rows = [
        order
        | {"event_date": NOW.date(), "region": "eu", "currency": "EUR"}
        | {"items": [{"sku": "SKU-1", "quantity": order["quantity"], "unit_price": Decimal(1)}]}
        for order in orders
    ]
    gold = revenue_daily(pa.Table.from_pylist(rows, schema=SILVER))
    assert gold.schema == GOLD
    assert gold.to_pylist() == [
        {
            "event_date": NOW.date(),
            "region": "eu",
            "currency": "EUR",
            "orders": 2,
            "cancelled": 1,
            "units": 7,
            "revenue": Decimal("10.75"),
        }
    ]
