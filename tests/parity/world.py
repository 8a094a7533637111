"""The project's own datasets and marts in a lake of a temporary folder, filled by their own sources, without a broker."""

from __future__ import annotations

import datetime as dt
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.audit import RefusedError
from dagster_project.refine.engine import Engine
from dagster_project.refine.gold import compute
from dagster_project.settings import REPOSITORY
from dagster_project.sources.events import Event
from dagster_project.sources.flights import Flights
from dagster_project.sources.retail.streams import STREAMS, Retail
from dagster_project.sources.retail.transport import Transport
from dagster_project.sources.retail.world import World
from dagster_project.sources.source import Source
from tests.unit.lakes import EPOCH, Lake, Message

# Days of the world; some of them are late in each batch.
_WORLD = World(seed=7, orders=150, days=6)
_TRANSPORT = Transport()
_FLIGHTS = 1_200
_PARTITIONS = 2


@functools.cache
def contracts() -> Catalog:
    return load_catalog(REPOSITORY / "contracts")


@dataclass(kw_only=True)
class Tables:
    """All tables of the project in one folder."""

    catalog: Catalog
    lakes: Mapping[str, Lake]
    storage: Storage

    @classmethod
    def at(cls, folder: Path) -> Tables:
        catalog, storage = contracts(), Storage.at(str(folder))
        lakes = {d.name: Lake(catalog=catalog, storage=storage, dataset=d) for d in catalog.datasets}
        return cls(catalog=catalog, lakes=lakes, storage=storage)

    def gold(self, name: str) -> pl.DataFrame:
        mart = self.catalog.mart(name)
        table = Table.find(specs.gold(mart), storage=self.storage)
        if table is None:
            return pl.DataFrame(schema=specs.gold(mart).schema)
        return table.rows().select(specs.gold(mart).schema.keys()).sort(mart.merge_key).collect()

    def cursors(self, name: str) -> Mapping[str, int]:
        table = Table.find(specs.gold(self.catalog.mart(name)), storage=self.storage)
        return {} if table is None else table.cursors()

    def compute(self, name: str, engine: Engine) -> int:
        """Bring a mart up to date; how many table partitions were computed."""
        mart = self.catalog.mart(name)
        # The ledger waits for a payment whose first event is still to come; a later batch has it.
        with suppress(RefusedError):
            commits = list(compute(mart, catalog=self.catalog, storage=self.storage, keys=None, engine=engine))
            return sum(len(commit.rows) for commit in commits)
        return 0


def batches(count: int) -> Sequence[Mapping[str, Sequence[Message]]]:
    """All that the sources have, in so many parts."""
    found: list[dict[str, Sequence[Message]]] = [{} for _ in range(count)]
    for dataset in contracts().datasets:
        source: Source = (
            Retail(dataset=dataset, world=_WORLD, transport=_TRANSPORT)
            if dataset.name in STREAMS
            else Flights(dataset=dataset)
        )
        messages = list(_messages(source))
        size = -(-len(messages) // count)
        for number in range(count):
            found[number][dataset.name] = messages[number * size : (number + 1) * size]
    # What was never heard of is empty, also to a mart that reads something else beside it.
    found[1]["orders"] = [*found[0].pop("orders"), *found[1]["orders"]]
    return found


def _messages(source: Source) -> Iterator[Message]:
    following = dict.fromkeys(range(_PARTITIONS), 0)
    events: Iterator[Event] = iter(source)
    if isinstance(source, Flights):
        events = itertools.islice(events, _FLIGHTS)
    for event in events:
        key = event.key
        partition = sum(key or b"") % _PARTITIONS
        sent = dt.datetime.fromtimestamp(event.sent_at / 1000, dt.UTC) if event.sent_at else _moment(event)
        yield Message(
            offset=following[partition],
            payload=None if event.deletes else event.value,
            key=key,
            partition=partition,
            sent=sent,
            headers=tuple(event.headers),
        )
        following[partition] += 1


def _moment(event: Event) -> dt.datetime:
    return EPOCH if event.event_time is None else dt.datetime.fromisoformat(event.event_time)
