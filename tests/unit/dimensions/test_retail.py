"""Of a made-up shop the customer dimension and the revenue by segment are those of pandas on the producer's own record."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from dagster_project.settings import PSEUDONYM_KEYS
from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.retail.streams import Retail, streams
from dagster_project.sources.retail.transport import Order, Transport
from dagster_project.sources.retail.world import DEFAULT_START, World
from tests.retail.dimensions import dim_customer, revenue_by_segment, sales_by_category
from tests.retail.frames import deliveries, silver
from tests.unit.dimensions.shop import Shop, contracts
from tests.unit.lakes import Message

WORLD = World(orders=250, seed=11, days=12, start=DEFAULT_START)
# All is sent after all has happened, but for deletes, whose own time is what they say.
SENT = DEFAULT_START + dt.timedelta(days=14)
MARTS = ("dim_customer", "dim_product", "revenue_by_segment", "sales_by_category")


@pytest.fixture(scope="module", autouse=True)
def secret() -> Iterable[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PSEUDONYM_KEYS, f"a:{base64.b64encode(b'a' * 32).decode()}")
        yield


def messages(source: Retail, log: DeliveryLog) -> Iterator[Message]:
    for offset, event in enumerate(source):
        log.append([Delivery(offset, 0, offset, event)])
        sent = dt.datetime.fromtimestamp(event.sent_at / 1000, dt.UTC) if event.sent_at else SENT
        yield Message(offset=offset, payload=None if event.deletes else event.value, key=event.key, sent=sent)


def filled(folder: Path, *, order: Order, batches: int, late: float = 0.0) -> tuple[Shop, dict[str, pd.DataFrame]]:
    """A lake that was filled in so many batches, and what Silver must hold."""
    shop = Shop.at(folder / "lake", datasets=["customers", "orders"], marts=MARTS)
    transport = Transport(order=order, duplicates=0.05 if late else 0.0, late=late)
    sent: dict[str, list[Message]] = {}
    expected: dict[str, pd.DataFrame] = {}
    for source in streams(contracts(), world=WORLD, transport=transport, only=list(shop.lakes)):
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


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """The marts after one batch that came in order."""
    shop, _ = filled(tmp_path_factory.mktemp("in-order"), order="time", batches=1)
    return {name: shop.gold(name) for name in MARTS}


@pytest.mark.parametrize(("order", "batches", "late"), [("known", 8, 0.05), ("whole", 5, 0.05)])
def test_however_they_come_the_marts_are_those_of_the_oracle(
    tmp_path: Path, in_order: dict[str, pl.DataFrame], order: Order, batches: int, late: float
) -> None:
    shop, expected = filled(tmp_path, order=order, batches=batches, late=late)
    versions = dim_customer(expected["customers"])
    assert len(versions) > versions["customer_id"].nunique() > 1
    found = shop.gold("dim_customer").sort("customer_id", "valid_from")
    columns = list(versions.columns)
    assert found.select(columns).rows() == pl.from_pandas(versions).select(columns).rows()
    oracle = {
        "revenue_by_segment": revenue_by_segment(expected["orders"], versions),
        "sales_by_category": sales_by_category(expected["orders"]),
    }
    for name, wanted in oracle.items():
        facts = shop.gold(name)
        assert facts.rows() == pl.from_pandas(wanted).select(facts.columns).sort(facts.columns[:4]).rows()
    assert {"unknown", "vip"} < set(shop.gold("revenue_by_segment")["segment"])
    # Bit by bit, keys included, in whatever order and batches they came; and computed afresh.
    assert {name: shop.gold(name).equals(in_order[name]) for name in MARTS} == dict.fromkeys(MARTS, True)
    shop.compute(afresh=True)
    assert {name: shop.gold(name).equals(in_order[name]) for name in MARTS} == dict.fromkeys(MARTS, True)
