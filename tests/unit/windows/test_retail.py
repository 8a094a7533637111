"""Of a made-up shop all windows, sessions and the funnel are those of pandas on the producer's own record."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportCallIssue=false, reportUnknownMemberType=false

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.retail.streams import Retail, streams
from dagster_project.sources.retail.transport import Order, Transport
from dagster_project.sources.retail.world import DEFAULT_START, World
from tests.retail import windows
from tests.retail.frames import deliveries, silver
from tests.unit.dimensions.shop import Shop, contracts
from tests.unit.lakes import Message

WORLD = World(orders=60, seed=3, days=4, start=DEFAULT_START)
SENT = DEFAULT_START + dt.timedelta(days=7)  # all of it after all has happened
MARTS = ("revenue_1m", "traffic_hourly", "sessions", "funnel_daily", "page_views_by_visitor")


def messages(source: Retail, log: DeliveryLog) -> Iterator[Message]:
    for offset, event in enumerate(source):
        log.append([Delivery(offset, 0, offset, event)])
        yield Message(offset=offset, payload=event.value, key=event.key, sent=SENT)


def filled(folder: Path, *, order: Order, batches: int) -> tuple[Shop, dict[str, pd.DataFrame]]:
    """A lake that was filled in so many batches, and what Silver must hold."""
    shop = Shop.at(folder / "lake", datasets=["orders", "page_views"], marts=MARTS)
    sent: dict[str, list[Message]] = {}
    expected: dict[str, pd.DataFrame] = {}
    for source in streams(contracts(), world=WORLD, transport=Transport(order=order, late=0.05), only=list(shop.lakes)):
        name = source.dataset.name
        sent[name] = list(messages(source, DeliveryLog(folder / f"{name}.ndjson")))
        expected[name] = silver(deliveries(folder / f"{name}.ndjson"), name)
    for batch in range(batches):
        for name, lake in shop.lakes.items():
            share = slice(len(sent[name]) * batch // batches, len(sent[name]) * (batch + 1) // batches)
            lake.arrive(*sent[name][share])
        shop.refine()
        shop.compute()
    return shop, expected


def oracle(orders: pd.DataFrame, page_views: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {
        "revenue_1m": windows.revenue_1m(orders),
        "traffic_hourly": windows.traffic_hourly(page_views),
        "sessions": windows.sessions(page_views),
        "funnel_daily": windows.funnel_daily(page_views, orders),
        "page_views_by_visitor": windows.page_views_by_visitor(page_views),
    }


@pytest.mark.parametrize(("order", "batches"), [("known", 3), ("whole", 2)])
def test_however_they_come_the_marts_are_those_of_the_oracle(tmp_path: Path, order: Order, batches: int) -> None:
    shop, expected = filled(tmp_path, order=order, batches=batches)
    for name, frame in oracle(**expected).items():
        found = shop.gold(name)
        wanted = pl.from_pandas(frame).select(pl.col(column) for column in found.columns if column in frame.columns)
        assert set(found.columns) - set(wanted.columns) <= {"state", "restated_at"}
        wanted = wanted.sort(shop.catalog.mart(name).merge_key)
        assert found.select(wanted.columns).rows() == wanted.rows(), name
        if "late_rows" in found.columns:
            assert found.filter(pl.col("late_rows") > 0).height
            assert not found.filter((pl.col("late_rows") > 0) != pl.col("restated_at").is_not_null()).height
    before = {name: shop.gold(name) for name in MARTS}
    shop.compute(afresh=True)
    assert {name: shop.gold(name).equals(before[name]) for name in MARTS} == dict.fromkeys(MARTS, True)
