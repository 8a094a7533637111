"""Orders with duplicates, late rows and poison, on local disk and on S3, judged by the producer's own oracle."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest

from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.specs import POISON
from dagster_project.lake.storage import Storage
from dagster_project.sources import oracle
from dagster_project.sources.oracle import Expected
from dagster_project.sources.orders import Orders
from tests.integration.lake import PATIENCE, Lake, places, unique

EVENTS = 20_000


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Orders in a topic, and what must become of them."""

    lake: Lake
    expected: Expected


@pytest.fixture(scope="module")
def shop(make_lake: Callable[[str], Lake]) -> Shop:
    lake = make_lake("orders")
    source = Orders(dataset=lake.dataset, events=EVENTS, seed=7, duplicates=0.05, late=0.03, poison=0.005)
    published = lake.produce(source)
    assert published.produced == EVENTS
    expected = oracle.expected(oracle.read(published.oracle))
    # All kinds of trouble are there, or these tests would prove little.
    assert min(expected.counts[outcome] for outcome in ("silver", "superseded", "duplicate", "decode", "gate")) > 0
    assert expected.late > 0
    return Shop(lake=lake, expected=expected)


@pytest.fixture(scope="module", params=["disk", "s3"])
def done(request: pytest.FixtureRequest, shop: Shop) -> Shop:
    """All the way to Gold, in one go."""
    lake = shop.lake
    if request.param == "s3":
        lake = replace(lake, storage=Storage.at(f"{request.getfixturevalue('s3')}/{unique('orders')}"))
    lake.ingest()
    lake.refine()
    lake.compute()
    return replace(shop, lake=lake)


def row_of(value: dict[str, Any]) -> dict[str, Any]:
    """The columns of the contract, from the JSON that was sent."""
    times = {name: dt.datetime.fromisoformat(value[name]) for name in ("ordered_at", "event_time")}
    return {**value, **times, "note": value.get("note"), "event_date": times["ordered_at"].date()}


def test_silver_is_the_oracle_row_for_row(done: Shop) -> None:
    rows = done.lake.silver()
    names = [*(column.name for column in done.lake.dataset.columns), "event_date"]
    found = {row["order_id"]: {name: row[name] for name in names} for row in rows.iter_rows(named=True)}
    wanted = {key: row_of(record.value) for key, record in done.expected.rows.items() if record.value is not None}

    assert len(rows) == len(found) == len(done.expected.rows)
    assert found.keys() == wanted.keys()
    assert {key: (found[key], row) for key, row in wanted.items() if found[key] != row} == {}
    # The columns are what they seem: money is exact, and text beyond ASCII is among it.
    assert rows.schema["amount"] == pl.Decimal(18, 2)
    assert any(not note.isascii() for note in rows["note"].drop_nulls())
    assert not rows["_deleted"].any()


def test_every_place_is_where_the_oracle_says(done: Shop) -> None:
    silver, quarantine, bronze = places(done.lake.silver()), places(done.lake.quarantine()), done.lake.bronze()
    poison = places(bronze.filter(pl.col("_kind") == POISON))

    assert silver == done.expected.places("silver")
    assert poison == done.expected.places("decode")
    assert quarantine == done.expected.places("gate")
    assert places(bronze) - silver - quarantine - poison == done.expected.places("superseded") | done.expected.places(
        "duplicate"
    )
    assert len(bronze) == EVENTS


def test_whatever_is_held_back_has_a_reason_and_its_payload(done: Shop) -> None:
    poison = done.lake.bronze().filter(pl.col("_kind") == POISON)
    quarantine = done.lake.quarantine()

    assert poison["_error"].null_count() == 0
    assert quarantine["_reasons"].list.len().min() == 1
    assert quarantine["_payload"].null_count() == 0


def test_revenue_daily_is_the_oracle_exactly(done: Shop) -> None:
    found = {
        (row["event_date"], row["region"], row["currency"]): (
            row["orders"],
            row["cancelled"],
            row["units"],
            row["revenue"],
        )
        for row in done.lake.gold("revenue_daily").iter_rows(named=True)
    }
    wanted = {
        key: (value.orders, value.cancelled, value.units, value.revenue)
        for key, value in oracle.revenue_daily(done.expected.rows.values()).items()
    }
    assert found == wanted


def test_the_account_counts_what_the_oracle_counts(done: Shop) -> None:
    found, wanted = done.lake.account(), done.expected.counts

    assert found.accounted, found.problems
    assert found.silver_rows == wanted["silver"]
    assert found.superseded == wanted["superseded"] + wanted["duplicate"]
    assert found.quarantined == wanted["decode"] + wanted["gate"]
    assert found.offsets == EVENTS + found.gaps
    assert (found.tombstones, found.lost, found.pending, found.unaccounted, found.gold_stale) == (0,) * 5


def test_many_small_batches_give_the_same_as_one_go(done: Shop) -> None:
    lake = done.lake
    small = replace(lake, storage=replace(lake.storage, uri=f"{lake.storage.uri}-small"))
    batches = ingest(
        small.dataset,
        bootstrap_servers=small.servers,
        storage=small.storage,
        limits=Limits(rows=1_000),
        seconds=4 * PATIENCE,
        warn=pytest.fail,
    )
    count = 0
    for batch in batches:
        count += 1
        if batch.batch_id % 5 == 2:  # some batches meet those before them in Bronze, some in Silver
            small.refine()
        if batch.batch_id == 7:
            small.compute()
    small.refine()
    small.compute()

    assert count >= EVENTS // 1_000
    key = list(lake.dataset.merge_key)
    assert small.silver().drop("_batch_id").sort(key).equals(lake.silver().drop("_batch_id").sort(key))
    assert places(small.quarantine()) == places(lake.quarantine())
    columns = ["event_date", "region", "currency"]
    assert small.gold("revenue_daily").sort(columns).equals(lake.gold("revenue_daily").sort(columns))
    found = small.account()
    assert found.accounted, found.problems
    assert (found.silver_rows, found.superseded) == (lake.account().silver_rows, lake.account().superseded)
