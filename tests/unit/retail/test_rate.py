"""A live stream at a rate has as many orders as make so many events a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.settings import REPOSITORY
from dagster_project.sources.retail.streams import orders_at, streams
from dagster_project.sources.retail.transport import Transport
from dagster_project.sources.retail.world import World

SECONDS = 600.0


@pytest.mark.parametrize("only", [["orders"], ["customers", "orders", "payments", "page_views"]])
def test_there_are_as_many_orders_as_make_the_rate(only: list[str]) -> None:
    catalog = load_catalog(REPOSITORY / "contracts")
    world, transport = World(orders=1, seed=3, days=SECONDS / 86_400, live=True), Transport()

    orders = orders_at(50, catalog, world=world, transport=transport, only=only)

    found = streams(catalog, world=replace(world, orders=orders), transport=transport, only=only)
    assert sum(map(len, found)) / SECONDS == pytest.approx(50, rel=0.03)
