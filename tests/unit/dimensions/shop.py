"""The project's own contracts over a lake in a temporary folder, filled with hand-made changes and orders."""

from __future__ import annotations

import datetime as dt
import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.gold import compute
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import EPOCH, Lake, Message


class Change(NamedTuple):
    """What was said of a customer; in `region` `None`, that they were deleted. `at` in minutes after midnight of the first day."""

    customer: str
    at: int
    region: str | None
    segment: str = "consumer"
    email: str | None = None


@functools.cache
def contracts() -> Catalog:
    return load_catalog(REPOSITORY / "contracts")


def moment(minutes: int) -> dt.datetime:
    return EPOCH + dt.timedelta(minutes=minutes)


def change_message(offset: int, change: Change) -> Message:
    name, at = change.customer.encode(), moment(change.at)
    if change.region is None:
        return Message(offset=offset, payload=None, key=name, sent=at)
    values = {
        "customer_id": change.customer,
        "event_time": at.isoformat(),
        "region": change.region,
        "segment": change.segment,
        "country": "DE",
        "email": change.email,
    }
    return Message(offset=offset, payload=json.dumps(values).encode(), key=name, sent=at)


def order_message(
    offset: int, customer: str, *, at: int, amount: str, region: str = "eu", status: str = "paid"
) -> Message:
    name = f"{offset:08d}-0000-4000-8000-000000000000"
    values = {
        "order_id": name,
        "ordered_at": moment(at).isoformat(),
        "event_time": moment(at + 1).isoformat(),
        "region": region,
        "status": status,
        "customer_id": customer,
        "currency": "EUR",
        "amount": amount,
        "items": [{"sku": "SKU-0001", "quantity": 1, "unit_price": amount}],
    }
    return Message(offset=offset, payload=json.dumps(values).encode(), key=name.encode(), sent=moment(at + 1))


@dataclass(kw_only=True)
class Shop:
    """Datasets and marts of the project, those that are named."""

    catalog: Catalog
    storage: Storage
    lakes: dict[str, Lake]

    @classmethod
    def at(cls, folder: Path, *, datasets: Sequence[str], marts: Sequence[str]) -> Shop:
        project = contracts()
        catalog = replace(
            project,
            datasets=tuple(item for item in project.datasets if item.name in datasets),
            marts=tuple(item for item in project.marts if item.name in marts),
        )
        storage = Storage.at(str(folder))
        lakes = {item.name: Lake(catalog=catalog, storage=storage, dataset=item) for item in catalog.datasets}
        return cls(catalog=catalog, storage=storage, lakes=lakes)

    def refine(self) -> None:
        for lake in self.lakes.values():
            lake.refine()

    def compute(self, *, afresh: bool = False) -> dict[str, int]:
        """Bring all marts up to date; by name, how many table partitions were computed."""
        return {
            mart.name: sum(
                len(done.rows)
                for done in compute(mart, catalog=self.catalog, storage=self.storage, keys=None, afresh=afresh)
            )
            for mart in self.catalog.marts
        }

    def gold(self, name: str) -> pl.DataFrame:
        mart = self.catalog.mart(name)
        rows = Table.open(specs.gold(mart), storage=self.storage).rows().collect()
        return rows.select(column.name for column in mart.columns).sort(mart.merge_key)
