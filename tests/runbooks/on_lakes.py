"""Broken states of lakes, by the runbook that describes them."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import s3fs

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lifecycle.expiry import expire
from tests.integration.conftest import s3_variables
from tests.integration.lake import free_port
from tests.live.ground import Cache
from tests.live.store import Store, store
from tests.runbooks.rehearsal import State
from tests.runbooks.shell import shell
from tests.runbooks.states import lake_in, lake_storage, project, refine_and_compute, state
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


def breaker_open(folder: Path, _: ExitStack) -> State:
    """A quarter of a region's orders is above what the contract allows."""
    project(folder, "orders", "marts/revenue_daily")
    dear = (order(n, region="apac", amount=2_500_000 if n % 4 == 0 else 900) for n in range(120))
    arrive(folder, [*dear, *(order(n) for n in range(120, 240))])
    return state(folder, edit=("maximum: 1000000", "maximum: 100000000"))


def silent_region(folder: Path, _: ExitStack) -> State:
    """One region has stopped two hours before the others."""
    project(folder, "orders")
    two_hours = dt.timedelta(hours=2)
    arrive(
        folder, [order(0, region="apac"), *(order(n, region=r, at=NINE + two_hours) for n, r in ((1, "eu"), (2, "us")))]
    )
    back = [order(3, region="apac", at=NINE + two_hours)]
    return state(folder, outside=lambda: arrive(folder, back))


def schema_drift(folder: Path, _: ExitStack) -> State:
    """A producer has begun to send coupons."""
    project(folder, "orders", "marts/revenue_daily")
    arrive(folder, (order(n, more={"coupon": f"SPRING{n}"} if n % 3 == 0 else None) for n in range(120)))
    note = "      - {name: note,"
    return state(folder, edit=(note, "      - {name: coupon, logicalType: string}\n" + note))


def ledger_imbalance(folder: Path, _: ExitStack) -> State:
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


def failed_run(folder: Path, _: ExitStack) -> State:
    """The mart's SQL was changed, and has two rows for one key; fifty orders came since."""
    project(folder, "orders", "marts/revenue_daily")
    arrive(folder, (order(n) for n in range(100)))
    sql = folder / "contracts" / "marts" / "revenue_daily.sql"
    text = sql.read_text()
    sql.write_text(text.replace("GROUP BY event_date", "GROUP BY order_id, event_date"))
    arrive(folder, (order(n) for n in range(100, 150)))
    return state(folder, edit=("GROUP BY order_id, event_date", "GROUP BY event_date"))


def expired(folder: Path, _: ExitStack) -> State:
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


def stale_cache(folder: Path, stack: ExitStack) -> State:
    """A cache of one's own was killed, and Gold has gone on since."""
    project(folder, "orders", "marts/revenue_daily")
    cache = Cache(folder=folder / "cache", port=free_port())
    stack.callback(cache.kill)
    cache.start()
    arrive(folder, (order(n) for n in range(100)))
    cache.kill()
    arrive(folder, (order(n) for n in range(100, 120)))
    return State(shell=shell(folder, {"REDIS_URL": cache.url}), outside=cache.start)


def store_down(folder: Path, stack: ExitStack) -> State:
    """The lake's S3 server is gone; it comes back with all that it had."""
    found = on_s3(folder, stack, bucket="gone")
    found.going.close()
    return replace(found.state, outside=lambda: stack.enter_context(store(found.store)))


def slow_store(folder: Path, stack: ExitStack) -> State:
    """Listings of the lake's S3 server take more than two seconds."""
    found = on_s3(folder, stack, bucket="lake")
    found.store.listing_delay_s = 2.1
    return replace(found.state, outside=lambda: setattr(found.store, "listing_delay_s", 0.0))


@dataclass(frozen=True, kw_only=True)
class OnS3:
    """A hundred orders on an S3 server, which runs until `going` is closed."""

    store: Store
    going: ExitStack
    state: State


def on_s3(folder: Path, stack: ExitStack, *, bucket: str) -> OnS3:
    """Args: `bucket`: of this state alone, as the process remembers where a lake is."""
    project(folder, "orders")
    going = stack.enter_context(ExitStack())
    found = going.enter_context(store())
    found.make(bucket)
    # Three tries, where the client's own patience would outlast the reader's.
    variables = {**s3_variables(found.url), "LAKEHOUSE_URI": f"s3://{bucket}", "AWS_MAX_ATTEMPTS": "3"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # one that was made with other variables leads elsewhere
        lake = replace(lake_in(folder, "orders"), storage=Storage.at(f"s3://{bucket}"))
        lake.arrive(*(order(n) for n in range(100)))
        lake.refine()
    stack.callback(s3fs.S3FileSystem.clear_instance_cache)
    return OnS3(store=found, going=going, state=State(shell=shell(folder, variables)))


def slo_burn(folder: Path, _: ExitStack) -> State:
    """For some minutes a third of the events took too long; then many come through quickly."""
    project(folder, "orders", "marts/revenue_daily")

    def measured(good: int, bad: int, *, ago: dt.timedelta = dt.timedelta(0)) -> None:
        at = dt.datetime.now(dt.UTC) - ago
        row = {
            "at": at,
            "dataset": "orders",
            "region": None,
            "objective": "latency_p99",
            "value": 700.0 if bad else 2.0,
        }
        rows = pl.DataFrame(
            [{**row, "bound": 300.0, "good": good, "bad": bad, DATE_COLUMN: at.date()}],
            schema=dict(specs.measurements().schema),
        )
        Table.open(specs.measurements(), storage=lake_storage(folder)).commit(rows, cursors={})

    measured(200, 100, ago=dt.timedelta(minutes=6))
    measured(200, 100)
    return state(folder, outside=lambda: measured(100_000, 0))


STATES: Mapping[str, Callable[[Path, ExitStack], State]] = {
    "breaker-open": breaker_open,
    "expired": expired,
    "failed-run": failed_run,
    "ledger-imbalance": ledger_imbalance,
    "schema-drift": schema_drift,
    "silent-region": silent_region,
    "slo-burn": slo_burn,
    "slow-store": slow_store,
    "stale-cache": stale_cache,
    "store-down": store_down,
}
