"""What a mart reads: every table at one version, cut to the table partitions that are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.serving import serving, view, visible
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.refine.reach import part_of, readers
from dagster_project.refine.sql import is_inexact
from dagster_project.refine.windows import TABLE, Watermarks, frame, seen


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of a mart.

    Attributes:
        tables: by `MartInput.table`; `None` of what was never written.
        versions: of the datasets, that serve.
    """

    mart: Mart
    catalog: Catalog
    tables: Mapping[str, Table | None]
    versions: Mapping[str, Dataset]

    @classmethod
    def find(cls, mart: Mart, *, catalog: Catalog, storage: Storage) -> Inputs:
        """The newest versions.

        Raises:
            LakeError: the store cannot be read, or a dataset that serves has no contract.
        """
        found = versions(mart, catalog, storage=storage)
        wanted = {item.table: spec_of(item.table, found, catalog) for item in mart.inputs}
        tables = {name: Table.find(spec, storage=storage) for name, spec in wanted.items()}
        return cls(mart=mart, catalog=catalog, tables=tables, versions=found)

    @property
    def ready(self) -> bool:
        """Whether the mart can be computed: a dataset without events is empty, but what other marts are to say is awaited."""
        if any(item.kind == "mart" and self.tables[item.table] is None for item in self.mart.inputs):
            return False
        return not self.mart.partitioned_by or any(table.spec.partition_by for table in self.found())

    @property
    def watermarks(self) -> Watermarks:
        return seen(self.mart, self.tables, self.catalog)

    def found(self) -> Iterator[Table]:
        """The tables that are there, in the order of the inputs."""
        return (table for item in self.mart.inputs if (table := self.tables[item.table]) is not None)

    def read(self, keys: Sequence[Key]) -> tuple[dict[str, pl.LazyFrame], int]:
        """What the SQL sees, by its name there, to compute some table partitions; and how many rows are stored of it."""
        frames: dict[str, pl.LazyFrame] = {}
        count = 0
        for item in self.mart.inputs:
            table, version = self.tables[item.table], self.versions.get(item.name)
            spec = spec_of(item.table, self.versions, self.catalog)
            if table is None:
                rows = pl.LazyFrame(schema=dict(spec.schema))
            else:
                files = part_of(table.files(), item, self.mart, keys)
                count += int(files["num_records"].sum())
                # The contract's columns; the table may have more, of a newer one.
                rows = table.rows(files).select(spec.schema.keys())
            if item.kind == "dataset":
                assert version is not None
                rows = view(visible(rows, version), self.catalog, version)
            frames[item.table.replace("/", ".")] = rows
        if is_inexact(self.mart, frames):
            frames = {name: rows.sort(self._key(name)) for name, rows in frames.items()}
        if self.mart.window is not None:
            frames[TABLE] = frame(self.watermarks).lazy()
        return frames, count

    def _key(self, name: str) -> list[str]:
        """What tells the rows of an input from one another, as SQL names it."""
        layer, _, item = name.partition(".")
        if layer == "gold":
            return list(self.catalog.mart(item).merge_key)
        return [*self.versions[item].merge_key, "_kafka_partition", "_kafka_offset"]

    @property
    def rows(self) -> int:
        """How many rows are stored of all that the mart reads."""
        return sum(int(table.files()["num_records"].sum()) for table in self.found())

    def sizes(self) -> dict[Key, int]:
        """By table partition of the mart, about how many rows it is computed from."""
        found: dict[Key, int] = {}
        for item in self.mart.inputs:
            table = self.tables[item.table]
            if table is None or not (on := list(table.spec.partition_by)):
                continue
            for *place, count in table.files().group_by(on).agg(pl.sum("num_records")).iter_rows():
                for key in readers(self.mart, item, Key(place[0], place[1] if len(place) > 1 else None)):
                    found[key] = found.get(key, 0) + count
        return found


def versions(mart: Mart, catalog: Catalog, *, storage: Storage) -> dict[str, Dataset]:
    """By name of a dataset that a mart reads, the version that serves."""
    return {name: serving(catalog, name, storage=storage) for name in mart.datasets}


def spec_of(table: str, serve: Mapping[str, Dataset], catalog: Catalog) -> TableSpec:
    """The table of an input, by `MartInput.table`."""
    layer, _, name = table.partition("/")
    return specs.silver(serve[name]) if layer == "silver" else specs.gold(catalog.mart(name))


def tables_of(marts: Iterable[Mart], catalog: Catalog, *, storage: Storage) -> dict[str, Table | None]:
    """All that marts are planned by: their own tables, and those that they read."""
    found: dict[str, Table | None] = {}
    for mart in marts:
        own = {f"gold/{mart.name}": specs.gold(mart)}
        serve = versions(mart, catalog, storage=storage)
        own |= {item.table: spec_of(item.table, serve, catalog) for item in mart.inputs}
        found |= {name: Table.find(spec, storage=storage) for name, spec in own.items() if name not in found}
    return found
