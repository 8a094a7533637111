"""A project with a mart of every kind, over two small datasets: what is computed when is to be seen in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.gold import Computed, compute
from dagster_project.refine.inputs import tables_of
from dagster_project.refine.staleness import pending_gold
from tests.unit.lakes import CONTRACT, Lake, write_project

HEAD = """\
apiVersion: v3.2.0
kind: DataContract
id: {name}
name: {name}
version: 1.0.0
status: active
schema:
  - name: {name}
    physicalType: table
    logicalType: object
    customProperties:
{options}
    properties:
{columns}
team:
  name: testers
"""
DATE = "{name: event_date, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}"
REGION = "{name: region, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}"
COUNTS = ("{name: readings, logicalType: integer, required: true}", "{name: total, logicalType: integer}")
BY_REGION, BY_DATE = "[event_date, region]", "[event_date]"
ID = "{name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}"


def mart(
    name: str,
    sql: str,
    *,
    inputs: str,
    columns: Iterable[str] = (DATE, REGION, *COUNTS),
    by: str = BY_REGION,
    **more: str,
) -> dict[str, str]:
    """The files of one mart."""
    options = {"inputs": inputs, "partitionedBy": by, **more}
    text = HEAD.format(
        name=name,
        options="\n".join(f"      - {{property: {key}, value: {value}}}" for key, value in options.items()),
        columns="\n".join(f"      - {column}" for column in columns),
    )
    return {f"{name}.odcs.yaml": text, f"{name}.sql": sql}


FILES: Mapping[str, str] = {
    "readings.odcs.yaml": CONTRACT,
    # Versions of what readings are looked up in: none of them is ever another one's.
    "others.odcs.yaml": CONTRACT.replace("readings", "others").replace("Readings", "Others"),
    **mart(
        "same",
        "SELECT event_date, region, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL",
        inputs="[readings]",
    ),
    **mart(
        "dates",
        "SELECT event_date, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL",
        inputs="[readings]",
        by=BY_DATE,
        columns=(DATE, *COUNTS),
    ),
    **mart(
        "trailing",
        "SELECT CAST(event_date + days AS DATE) AS event_date, region, count(*) AS readings, sum(level) AS total "
        "FROM silver.readings, unnest([0, 1, 2]) AS beside (days) GROUP BY ALL",
        inputs="[{name: readings, trailingDays: 2}]",
    ),
    # What stands before a reading may be of the day before, and before that one nothing counts.
    **mart(
        "leading",
        "SELECT event_date, count(*) AS readings, sum(pause) AS total FROM (SELECT event_date, CAST(epoch_us(lead(placed) "
        "OVER (PARTITION BY region ORDER BY placed, id) - placed) // 1000000 AS BIGINT) AS pause FROM silver.readings) GROUP BY ALL",
        inputs="[{name: readings, leadingDays: 1, trailingDays: 1}]",
        by=BY_DATE,
        columns=(DATE, *COUNTS),
    ),
    **mart(
        "people",
        "SELECT id, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL",
        inputs="[readings]",
        by="[]",
        columns=(ID, *COUNTS),
    ),
    **mart(
        "fixed",
        "SELECT * FROM (VALUES ('eu', 1), ('us', 2)) AS rows (id, readings)",
        inputs="[]",
        by="[]",
        columns=(ID, COUNTS[0]),
    ),
    **mart(
        "versions",
        "SELECT split_part(id, '@', 1) AS id, others.at AS since, lead(others.at) OVER own AS until, lead(others.at) OVER own IS NULL AS current, "
        "level AS total FROM silver.others WINDOW own AS (PARTITION BY split_part(id, '@', 1) ORDER BY others.at)",
        inputs="[others]",
        by="[]",
        columns=(
            ID,
            "{name: since, logicalType: timestamp, required: true, primaryKey: true, primaryKeyPosition: 2}",
            "{name: until, logicalType: timestamp}",
            "{name: current, logicalType: boolean, required: true}",
            COUNTS[1],
        ),
        validity="[since, until]",
    ),
    **mart(
        "facts",
        "SELECT event_date, region, readings.id, total, readings AS size FROM silver.readings LEFT JOIN gold.versions "
        "ON versions.id = readings.id AND readings.at >= since AND (until IS NULL OR readings.at < until) LEFT JOIN gold.fixed ON fixed.id = region",
        inputs="[readings, versions, fixed]",
        columns=(DATE, REGION, ID.replace("1}", "3}"), COUNTS[1], "{name: size, logicalType: integer}"),
    ),
    **mart(
        "report",
        "SELECT event_date, region, count(*) AS readings, sum(facts.total + dates.total) AS total FROM gold.facts "
        "JOIN gold.dates USING (event_date) GROUP BY ALL",
        inputs="[facts, dates]",
    ),
    **mart(
        "both",
        "SELECT event_date, count(*) AS readings, sum(level) AS total FROM "
        "(FROM silver.readings UNION ALL BY NAME FROM silver.others) GROUP BY ALL",
        inputs="[readings, others]",
        by=BY_DATE,
        columns=(DATE, *COUNTS),
    ),
}  # fmt: skip


@dataclass(kw_only=True)
class World:
    """Both datasets' tables, and those of all marts."""

    catalog: Catalog
    storage: Storage
    readings: Lake
    others: Lake

    @classmethod
    def at(cls, folder: Path, *, catalog: Catalog) -> World:
        storage = Storage.at(str(folder))
        lakes = {
            name: Lake(catalog=catalog, storage=storage, dataset=catalog.dataset(name))
            for name in ("readings", "others")
        }
        return cls(catalog=catalog, storage=storage, **lakes)

    def copied(self, folder: Path) -> World:
        """The same, in another place."""
        shutil.copytree(self.storage.uri, folder)
        other = World.at(folder, catalog=self.catalog)
        other.readings.cursor, other.others.cursor = self.readings.cursor, self.others.cursor
        return other

    def refine(self) -> None:
        for lake in (self.readings, self.others):
            lake.refine()

    def stale(self, name: str) -> list[Key]:
        tables = tables_of(self.catalog.marts, self.catalog, storage=self.storage)
        return pending_gold(self.catalog.mart(name), tables, catalog=self.catalog)

    def compute(self, *names: str, afresh: bool = False) -> dict[str, list[Computed]]:
        """Bring marts up to date, by default all."""
        chosen = [item for item in self.catalog.marts if item.name in names or not names]
        return {
            item.name: list(compute(item, catalog=self.catalog, storage=self.storage, keys=None, afresh=afresh))
            for item in chosen
        }

    def computed(self) -> dict[str, set[str]]:
        """Bring all marts up to date; by mart, what was computed."""
        done = self.compute()
        found = {name: {str(key) for commit in commits for key in commit.rows} for name, commits in done.items()}
        return {name: keys for name, keys in found.items() if keys}

    def gold(self, name: str) -> Table:
        return Table.open(specs.gold(self.catalog.mart(name)), storage=self.storage)

    def rows(self, name: str) -> pl.DataFrame:
        """What is published, in the order of the key, as `compute` leaves each table partition."""
        item = self.catalog.mart(name)
        return self.gold(name).rows().select(specs.gold(item).schema.keys()).sort(item.merge_key).collect()


def world_catalog(folder: Path, files: Mapping[str, str] = FILES) -> Catalog:
    return load_catalog(write_project(folder, files))
