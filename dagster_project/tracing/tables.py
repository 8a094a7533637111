"""The tables of one dataset that an event may be in, each as of one version, and where in them it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.history import History
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.topics.offsets import place

PLACE = ("_kafka_partition", "_kafka_offset")
_WHERE = (*PLACE, "_kafka_timestamp", "_path")
Row = Mapping[str, Any]


class Layer:
    """One table, if it was ever written."""

    def __init__(self, spec: TableSpec, *, storage: Storage) -> None:
        self.name = f"{spec.layer}/{spec.name}"
        self.table = Table.find(spec, storage=storage)

    @cached_property
    def history(self) -> History:
        assert self.table is not None
        return History(self.table)

    @cached_property
    def files(self) -> pl.DataFrame:
        return pl.DataFrame() if self.table is None else self.table.files()

    @property
    def cursors(self) -> Mapping[str, int]:
        return {} if self.table is None else self.table.cursors()

    def near(self, offset: int) -> pl.DataFrame:
        """Files that may hold an offset of any Kafka partition, by their bounds; all where there are none."""
        if "min._kafka_offset" not in self.files.columns:
            return self.files
        return self.files.filter(pl.lit(offset).is_between("min._kafka_offset", "max._kafka_offset"))

    def find(self, predicate: pl.Expr, files: pl.DataFrame) -> pl.DataFrame:
        """Places, times and files of the rows for which a predicate is true: only its columns are read of all the others."""
        if self.table is None or files.is_empty():
            return pl.DataFrame(schema={**{name: specs.COORDINATES[name] for name in _WHERE[:3]}, "_path": pl.String})
        return self.table.rows(files, with_path=True).filter(predicate).select(_WHERE).collect()

    def fetch(self, found: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
        """Rows that were found, with more of their columns."""
        assert self.table is not None
        files = self.files.filter(pl.col("path").is_in(found["_path"].unique().implode()))
        wanted = found.select(place()).to_series()
        rows = self.table.rows(files).filter(place().is_in(wanted.implode()))
        return rows.select(columns).collect().unique(PLACE, maintain_order=True)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All layers of a dataset, in one of its major versions."""

    dataset: Dataset
    bronze: Layer
    silver: Layer
    quarantine: Layer
    ledger: Layer

    @classmethod
    def find(cls, dataset: Dataset, *, storage: Storage) -> Tables:
        """The newest versions.

        Raises:
            LakeError: the store cannot be read.
        """
        # Bronze last, as in an account: what somebody adds meanwhile is then not read yet, instead of nowhere.
        ledger, silver, quarantine, bronze = (
            Layer(kind(dataset), storage=storage)
            for kind in (specs.ledger, specs.silver, specs.quarantine, specs.bronze)
        )
        return cls(dataset=dataset, bronze=bronze, silver=silver, quarantine=quarantine, ledger=ledger)

    @property
    def cursor(self) -> Cursor | None:
        """How far Bronze has come."""
        return Cursor.from_table(self.bronze.cursors)


def at(partition: int, offset: int) -> pl.Expr:
    """Rows at one place."""
    return (pl.col(PLACE[0]) == partition) & (pl.col(PLACE[1]) == offset)


def key_of(row: Row) -> Key:
    """The table partition that a row is in."""
    return Key(row[DATE_COLUMN], row[REGION_COLUMN])
