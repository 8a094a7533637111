"""All tables of a project at one look: what went through them, what is stale, and what the gate holds back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.dashboard.facts import FactReader, Facts
from dagster_project.dashboard.flow import Stock
from dagster_project.errors import LakehouseError
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.inputs import tables_of
from dagster_project.refine.probe import waiting
from dagster_project.refine.staleness import pending_gold


@dataclass(frozen=True, kw_only=True)
class Held:
    """A region whose breaker is open, or a table partition that would break a rule: its rows wait in Bronze."""

    dataset: str
    scope: str
    breaker: bool
    why: str
    rows: int
    since: dt.datetime
    retry: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What was found.

    Attributes:
        facts: by dataset.
        stocks: by mart, of those that were computed at least once.
        troubles: by dataset whose tables cannot be read, why; while others can.
    """

    facts: Mapping[str, Facts]
    stocks: Mapping[str, Stock]
    held: tuple[Held, ...]
    troubles: Mapping[str, str]


class TableReader:
    """Looks at all tables; what has not changed since the last look is not worked out again."""

    def __init__(self, catalog: Catalog, *, storage: Storage) -> None:
        self._catalog = catalog
        self._storage = storage
        self._readers: dict[str, FactReader] = {}
        self._stocks: dict[str, tuple[tuple[int, ...], Stock]] = {}

    def read(self) -> Tables:
        """The tables as they are now.

        Raises:
            LakehouseError: none of them can be read.
        """
        stocks = self._marts()
        facts: dict[str, Facts] = {}
        held: list[Held] = []
        troubles: dict[str, LakehouseError] = {}
        for name in self._catalog.names():
            try:
                reader = self._reader(serving(self._catalog, name, storage=self._storage))
                facts[name] = reader.read()
                held += _held(reader.dataset, self._storage)
            except LakehouseError as error:
                troubles[name] = error
        if troubles and not facts:
            raise next(iter(troubles.values()))
        told = {name: error.found for name, error in troubles.items()}
        return Tables(facts=facts, stocks=stocks, held=tuple(held), troubles=told)

    def _reader(self, dataset: Dataset) -> FactReader:
        known = self._readers.get(dataset.name)
        if known is None or known.dataset != dataset:
            known = self._readers[dataset.name] = FactReader(dataset, storage=self._storage)
        return known

    def _marts(self) -> dict[str, Stock]:
        # Before the datasets: a run in between makes a mart stale, not newer than what it was computed from.
        tables = tables_of(self._catalog.marts, self._catalog, storage=self._storage)
        found: dict[str, Stock] = {}
        for mart in self._catalog.marts:
            gold = tables[f"gold/{mart.name}"]
            if gold is not None:
                found[mart.name] = self._stock(mart, gold, tables)
        return found

    def _stock(self, mart: Mart, gold: Table, tables: Mapping[str, Table | None]) -> Stock:
        # What is stale follows from the logs of these alone.
        read = (tables[item.table] for item in mart.inputs)
        versions = (gold.version, *(-1 if table is None else table.version for table in read))
        known = self._stocks.get(mart.name)
        if known is None or known[0] != versions:
            stale = len(pending_gold(mart, tables, catalog=self._catalog))
            held = len(pending_gold(mart, tables, catalog=self._catalog, with_held=True)) - stale
            rows = int(gold.files()["num_records"].sum())
            known = self._stocks[mart.name] = versions, Stock(mart=mart.name, rows=rows, stale=stale, held=held)
        return known[1]


def _held(dataset: Dataset, storage: Storage) -> list[Held]:
    return [
        Held(
            dataset=dataset.name,
            scope=str(item.scope),
            breaker=item.breaker,
            why=item.why,
            rows=item.rows,
            since=dt.datetime.fromtimestamp(item.since_ms / 1000, dt.UTC),
            retry=dt.datetime.fromtimestamp(item.retry_ms / 1000, dt.UTC),
        )
        for item in waiting(dataset, storage=storage)
    ]
