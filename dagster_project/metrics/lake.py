"""What the tables' own logs say: sizes, freshness, what waits, what is held back, and what the last commits brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from dagster_project.contract.model import Catalog
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.metrics import freshness, recent, sizes, waiting
from dagster_project.metrics.family import Sample, Source

# Tables that are looked at at once: a store answers in tens of milliseconds, and there may be hundreds.
_AT_ONCE = 16


def source(catalog: Catalog, *, storage: Storage) -> Source:
    """All of it, from one look at each table."""
    look, counted, tail = Look(catalog, storage=storage), sizes.Counted(), recent.Tail()

    def read(now: float) -> Iterator[Sample]:
        tables = look.newest()
        for name, table in tables.items():
            yield from counted.samples(name, table)
        yield from freshness.samples(catalog, tables, storage=storage, now=now)
        yield from waiting.samples(catalog, tables, storage=storage)
        yield from tail.samples(catalog, tables, now=now)

    families = (*sizes.FAMILIES, *freshness.FAMILIES, *waiting.FAMILIES, *recent.FAMILIES)
    return Source(name="lake", families=families, read=read)


class Look:
    """Finds all tables of a catalog again and again; of those that it knows it reads the new commits alone."""

    def __init__(self, catalog: Catalog, *, storage: Storage) -> None:
        self._storage = storage
        self._specs = [
            *(spec(dataset) for dataset in catalog.datasets for spec in (specs.bronze, specs.ledger)),
            *(spec(version) for version in catalog.every_version() for spec in (specs.silver, specs.quarantine)),
            *map(specs.gold, catalog.marts),
            *specs.ops(),
        ]
        self._known: dict[str, Table] = {}

    def newest(self) -> Mapping[str, Table]:
        """By `layer/name`, those that there are.

        Raises:
            LakeError: the store cannot be read.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(self._newest, self._specs))
        self._known = {f"{table.spec.layer}/{table.spec.name}": table for table in found if table is not None}
        return self._known

    def _newest(self, spec: TableSpec) -> Table | None:
        if (table := self._known.get(f"{spec.layer}/{spec.name}")) is not None:
            try:
                table.refresh()
            except LakeError:
                pass  # perhaps it was retired; if the store is away, the next line says so
            else:
                table.files()  # side by side, too: they are kept, and all that follows needs them
                return table
        table = Table.find(spec, storage=self._storage)
        if table is not None:
            table.files()
        return table
