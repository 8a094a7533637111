"""Reading the lake with SQL: DuckDB over views of every table."""

from __future__ import annotations

import duckdb
import polars as pl

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.sandbox import bounded, only, sandbox
from dagster_project.lake.serving import serving, view, visible
from dagster_project.lake.storage import LAYERS, Storage
from dagster_project.lake.table import Table, TableSpec


def query(sql: str, *, catalog: Catalog, storage: Storage) -> pl.DataFrame:
    """Run SQL over `bronze.*`, `silver.*`, `gold.*`, `quarantine.*`, `ledger.*` and `ops.*`; tables that hold nothing yet are empty views.

    Raises:
        LakeError: the SQL does not run.
    """
    with sandbox() as connection, bounded(connection):
        for layer in LAYERS:
            connection.execute(f"CREATE SCHEMA {layer}")
        for dataset in catalog.datasets:
            name, versions = dataset.name, catalog.versions(dataset.name)
            for spec in (specs.bronze(dataset), specs.ledger(dataset)):
                connection.register(f"_{spec.layer}_{name}", _rows(spec, storage))
                connection.execute(f'CREATE VIEW {spec.layer}."{name}" AS FROM "_{spec.layer}_{name}"')
            served = serving(catalog, name, storage=storage)
            _silver(connection, name, view(visible(_rows(specs.silver(served), storage), served), catalog, served))
            _quarantine(connection, name, served, storage)
            for version in versions if len(versions) > 1 or served.reads_payloads else ():
                own = f"{name}_v{version.major}"
                _silver(connection, own, visible(_rows(specs.silver(version), storage), version))
                _quarantine(connection, own, version, storage)
        for mart in catalog.marts:
            connection.register(f"_gold_{mart.name}", _rows(specs.gold(mart), storage))
            connection.execute(f'CREATE VIEW gold."{mart.name}" AS FROM "_gold_{mart.name}"')
        for spec in specs.ops():
            connection.register(f"_ops_{spec.name}", _rows(spec, storage))
            connection.execute(f'CREATE VIEW ops."{spec.name}" AS FROM "_ops_{spec.name}"')
        try:
            # Materialized before the connection closes, and through Arrow: lists and decimals keep their types.
            return pl.DataFrame(connection.sql(only(connection, sql)).to_arrow_table())
        except duckdb.Error as error:
            tables = [
                *(f"silver.{dataset.name}" for dataset in catalog.datasets),
                *(f"gold.{mart.name}" for mart in catalog.marts),
            ]
            raise LakeError(str(error), expected="SQL over " + ", ".join(tables), remedy="correct the SQL") from error


def _rows(spec: TableSpec, storage: Storage) -> pl.LazyFrame:
    """Read while the query runs, and only its columns.

    Not as delta-rs's data set: where the log has no bounds of a column, as is so for most, that takes every filter on it for
    one that no row passes.
    """
    table = Table.find(spec, storage=storage)
    return pl.LazyFrame(schema=dict(spec.schema)) if table is None else table.rows()


def _silver(connection: duckdb.DuckDBPyConnection, name: str, rows: pl.LazyFrame) -> None:
    connection.register(f"_silver_{name}", rows)
    connection.execute(f'CREATE VIEW silver."{name}" AS FROM "_silver_{name}"')


def _quarantine(connection: duckdb.DuckDBPyConnection, name: str, version: Dataset, storage: Storage) -> None:
    """One place to look for everything that was held back: what could not be decoded, and what broke a rule."""
    connection.register(f"_quarantine_{name}", _rows(specs.quarantine(version), storage))
    coordinates = ", ".join(specs.COORDINATES)
    gate = f"""
        SELECT 'gate' AS stage, _reasons AS reasons, {coordinates}, event_date, region, _key, _payload
        FROM "_quarantine_{name}" WHERE {specs.RELEASE} IS NULL
    """
    # A version that decodes payloads itself has what it cannot decode in its own quarantine.
    decode = f"""
        UNION ALL BY NAME
        SELECT 'decode' AS stage, [_error] AS reasons, {coordinates}, event_date, region, _key, _payload
        FROM "_bronze_{version.name}" WHERE _kind = '{specs.POISON}'
    """
    connection.execute(f'CREATE VIEW quarantine."{name}" AS ' + (gate if version.reads_payloads else gate + decode))
