"""The tables that a job's SQL reads, as it sees them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import VERSION_TIME, Catalog, Dataset
from dagster_project.contract.versions import counterparts
from dagster_project.lake.table import Table, TableSpec
from dagster_project.spark.columns import Column, columns_of, ddl, spark_type


@dataclass(frozen=True, kw_only=True)
class View:
    """A table as the SQL sees it.

    Attributes:
        schema: of its files, as DDL.
        partition_by: columns that the files do not have.
        where: rows that are seen.
        select: columns, as expressions.
        rows: the table itself as an expression, where it is in no file.
    """

    schema: str = ""
    partition_by: tuple[Column, ...] = ()
    where: str = "true"
    select: tuple[str, ...] = ()
    rows: str = ""


def view_of(spec: TableSpec, table: Table | None, version: Dataset | None, catalog: Catalog) -> View:
    """What `Inputs.read` gives to DuckDB: the contract's columns; of a dataset what is visible, by the names of all versions."""
    stored = spec.schema if table is None else table.schema
    columns = columns_of({name: stored[name] for name in spec.schema})
    select = [f"`{name}`" for name in spec.schema]
    where = "true"
    if version is not None:
        if version.write_mode == "history":
            select.append(f"coalesce(`{version.event_time}`, `_kafka_timestamp`) AS `{VERSION_TIME}`")
        else:
            select.remove("`_deleted`")
            where = "NOT `_deleted`"
        select += _other_names(version, catalog)
    return View(
        schema=ddl([column for column in columns if column[0] not in spec.partition_by]),
        partition_by=tuple(column for column in columns if column[0] in spec.partition_by),
        where=where,
        select=tuple(select),
    )


def _other_names(version: Dataset, catalog: Catalog) -> list[str]:
    """As `lake.serving.view`: columns of all versions, and of what was renamed both names."""
    own = polars_schema(version.published)
    found = {
        column.renamed_from: f"`{column.name}`"
        for column in version.published
        if column.renamed_from and column.renamed_from not in own
    }
    for other in catalog.versions(version.name):
        there = counterparts(other, version)
        for name, dtype in polars_schema(other.published).items():
            if name not in own:
                found[name] = f"`{there[name]}`" if there.get(name) in own else f"CAST(NULL AS {spark_type(dtype)})"
    return [f"{made} AS `{name}`" for name, made in found.items()]


def literal(rows: pl.DataFrame) -> View:
    """A small table that is in no file: rows of it are in the order itself."""
    columns = columns_of(dict(rows.schema))
    values = ", ".join(
        "named_struct("
        + ", ".join(
            f"'{name}', CAST({_spelled(value)} AS {kind})" for (name, kind), value in zip(columns, row, strict=True)
        )
        + ")"
        for row in rows.with_columns(pl.selectors.datetime().dt.epoch("us")).iter_rows()
    )
    kinds = ", ".join(f"`{name}`: {kind}" for name, kind in columns)
    return View(rows=f"inline(CAST(array({values}) AS ARRAY<STRUCT<{kinds}>>))")


def _spelled(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return str(value).lower()
        case int():
            return f"timestamp_micros({value})"
        case _:
            return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
