"""Broken states of lakes, by the runbook that describes them."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from dagster_project.lifecycle.expiry import expire
from tests.runbooks.rehearsal import State
from tests.runbooks.states import lake_in, project, refine_and_compute, state
from tests.unit.lakes import Message

NINE = dt.datetime(2026, 6, 1, 9, tzinfo=dt.UTC)
_CURRENCY = {"eu": "EUR", "us": "USD", "apac": "JPY"}


def order(
    number: int,
    *,
    region: str = "eu",
    at: dt.datetime = NINE,
    amount: float = 10.0,
    more: Mapping[str, Any] | None = None,
) -> Message:
    """An order that was placed at a moment; its number is its offset."""
    identity = str(uuid.UUID(int=number, version=4))
    columns = {
        "order_id": identity,
        "ordered_at": at.isoformat(),
        "event_time": at.isoformat(),
        "region": region,
        "status": "created",
        "customer_id": f"c-{number}",
        "currency": _CURRENCY[region],
        "amount": amount,
        "items": [{"sku": "SKU-1", "quantity": 1, "unit_price": amount}],
        **(more or {}),
    }
    return Message(offset=number, payload=json.dumps(columns).encode(), key=identity.encode(), sent=at)


def breaker_open(folder: Path) -> State:
    """A quarter of a region's orders is above what the contract allows."""
    project(folder, "orders", "marts/revenue_daily")
    dear = (order(n, region="apac", amount=2_500_000 if n % 4 == 0 else 900) for n in range(120))
    arrive(folder, [*dear, *(order(n) for n in range(120, 240))])
    return state(folder, edit=("maximum: 1000000", "maximum: 100000000"))


def silent_region(folder: Path) -> State:
    """One region has stopped two hours before the others."""
    project(folder, "orders")
    two_hours = dt.timedelta(hours=2)
    arrive(
        folder, [order(0, region="apac"), *(order(n, region=r, at=NINE + two_hours) for n, r in ((1, "eu"), (2, "us")))]
    )
    back = [order(3, region="apac", at=NINE + two_hours)]
    return state(folder, outside=lambda: arrive(folder, back))


def schema_drift(folder: Path) -> State:
    """A producer has begun to send coupons."""
    project(folder, "orders", "marts/revenue_daily")
    arrive(folder, (order(n, more={"coupon": f"SPRING{n}"} if n % 3 == 0 else None) for n in range(120)))
    note = "      - {name: note,"
    return state(folder, edit=(note, "      - {name: coupon, logicalType: string}\n" + note))


def ledger_imbalance(folder: Path) -> State:
    """The second of three events of a payment is missing."""
    project(folder, "payments", "marts/ledger", "marts/account_balances", "marts/dim_date", "marts/dim_region")
    events = [*((n, 1) for n in (1, 2, 3)), (3, 3)]
    arrive(folder, (payment(offset, *event) for offset, event in enumerate(events)), dataset="payments")
    return state(folder, outside=lambda: arrive(folder, [payment(4, 3, 2)], dataset="payments"))


def payment(offset: int, number: int, sequence: int) -> Message:
    """Event `sequence` of a payment: the first takes the money, the others give a part of it back."""
    identity = str(uuid.UUID(int=number, version=4))
    columns = {
        "payment_id": identity,
        "sequence": sequence,
        "order_id": str(uuid.UUID(int=number + 1_000, version=4)),
        "customer_id": f"c-{number}",
        "region": "eu",
        "currency": "EUR",
        "kind": "capture" if sequence == 1 else "refund",
        "amount": 12.5 if sequence == 1 else 3,
        "payment_at": NINE.isoformat(),
        "event_time": (NINE + dt.timedelta(hours=sequence - 1)).isoformat(),
    }
    return Message(offset=offset, payload=json.dumps(columns).encode(), key=identity.encode(), sent=NINE)


def failed_run(folder: Path) -> State:
    """The mart's SQL was changed, and has two rows for one key; fifty orders came since."""
    project(folder, "orders", "marts/revenue_daily")
    arrive(folder, (order(n) for n in range(100)))
    sql = folder / "contracts" / "marts" / "revenue_daily.sql"
    text = sql.read_text()
    sql.write_text(text.replace("GROUP BY event_date", "GROUP BY order_id, event_date"))
    arrive(folder, (order(n) for n in range(100, 150)))
    return state(folder, edit=("GROUP BY order_id, event_date", "GROUP BY event_date"))


def expired(folder: Path) -> State:
    """Bronze has let go of a day, and then somebody has deleted Silver."""
    project(folder, "orders")
    arrive(folder, [order(0), order(1), order(2, at=NINE + dt.timedelta(days=40))])
    lake = lake_in(folder, "orders")
    list(expire(lake.dataset, storage=lake.storage, now=NINE + dt.timedelta(days=41)))
    shutil.rmtree(lake.silver.uri)
    return state(folder)


def arrive(folder: Path, messages: Iterable[Message], *, dataset: str = "orders") -> None:
    """One batch of Bronze, and the runs that it causes."""
    lake_in(folder, dataset).arrive(*messages)
    refine_and_compute(folder)


STATES: Mapping[str, Callable[[Path], State]] = {
    "breaker-open": breaker_open,
    "expired": expired,
    "failed-run": failed_run,
    "ledger-imbalance": ledger_imbalance,
    "schema-drift": schema_drift,
    "silent-region": silent_region,
}
