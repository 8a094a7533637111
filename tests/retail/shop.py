"""The retail datasets on topics of their own, from their producer to their marts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.lifecycle.rebuild import Choice, Rebuilt, rebuild_dataset
from dagster_project.refine.audit import RefusedError
from dagster_project.refine.gold import compute
from dagster_project.settings import REPOSITORY
from dagster_project.sources.retail.streams import STREAMS, Retail
from dagster_project.sources.retail.transport import Transport
from dagster_project.sources.retail.world import World
from tests.integration.lake import Lake, unique
from tests.retail.frames import deliveries, silver


@dataclass(frozen=True, kw_only=True)
class Shop:
    """One delivery of a retail world, and tables that were made of it."""

    catalog: Catalog
    lakes: Mapping[str, Lake]
    storage: Storage

    @classmethod
    def open(cls, home: Path, *, servers: str, registry: str) -> Shop:
        """With topics that nobody else has; nothing is in them."""
        catalog = load_catalog(REPOSITORY / "contracts")
        own = {name: catalog.dataset(name) for name in STREAMS}
        datasets = tuple(
            replace(dataset, topic=replace(dataset.topic, name=unique(dataset.topic.name))) for dataset in own.values()
        )
        marts = tuple(mart for mart in catalog.marts if catalog.origins(mart) <= own.keys())
        catalog = Catalog(datasets=datasets, marts=marts)
        storage = Storage.at(str(home / "lake"))
        lakes = {
            dataset.name: Lake(
                catalog=catalog, dataset=dataset, servers=servers, storage=storage, home=home, registry=registry
            )
            for dataset in datasets
        }
        for lake in lakes.values():
            lake.create_topic()
        return cls(catalog=catalog, lakes=lakes, storage=storage)

    def beside(self, home: Path) -> Shop:
        """The same topics, and tables that are still to be made of them."""
        storage = Storage.at(str(home / "lake"))
        lakes = {name: replace(lake, storage=storage) for name, lake in self.lakes.items()}
        return replace(self, lakes=lakes, storage=storage)

    def deliver(self, world: World, transport: Transport, *, batches: int) -> Iterator[int]:
        """Send everything in so many parts, with all tables brought up to date after each; yields how many are done."""
        sources = [Retail(dataset=lake.dataset, world=world, transport=transport) for lake in self.lakes.values()]
        for batch in range(1, batches + 1):
            for source in sources:
                self.lakes[source.dataset.name].produce(source, limit=len(source) * batch // batches)
            self.catch_up()
            yield batch

    def catch_up(self) -> None:
        for lake in self.lakes.values():
            lake.ingest()
            lake.refine()
        for mart in self.catalog.marts:
            # The ledger waits for a payment whose first event is still to come; its next batch has it.
            with suppress(RefusedError):
                list(compute(mart, catalog=self.catalog, storage=self.storage, keys=None))

    def rebuild(self) -> list[Rebuilt]:
        """Make all tables again from the payloads that Bronze has."""
        return [
            step
            for lake in self.lakes.values()
            for step in rebuild_dataset(
                lake.dataset,
                Choice(),
                "bronze",
                catalog=self.catalog,
                storage=self.storage,
                report=lambda _: None,
                registry=lake.registry,
            )
        ]

    def deliveries(self) -> dict[str, pd.DataFrame]:
        """By dataset, all that was sent, by the producer's own record."""
        logs = {name: lake.home / "oracle" / lake.dataset.topic.name for name, lake in self.lakes.items()}
        return {name: deliveries(*log.rglob("*.ndjson")) for name, log in logs.items()}

    def sent(self) -> dict[str, pd.DataFrame]:
        """By dataset, what Silver must hold of it."""
        return {name: silver(frame, name) for name, frame in self.deliveries().items()}

    def marts(self) -> dict[str, pl.DataFrame]:
        """Every mart, in the order of its key."""
        return {mart.name: self._rows(specs.gold(mart)).sort(mart.merge_key) for mart in self.catalog.marts}

    def silver(self) -> dict[str, pl.DataFrame]:
        """Silver of every dataset."""
        return {dataset.name: self._rows(specs.silver(dataset)) for dataset in self.catalog.datasets}

    def _rows(self, spec: TableSpec) -> pl.DataFrame:
        table = Table.find(spec, storage=self.storage)
        assert table is not None, spec.name
        return table.rows().collect()
