"""Reading the lake with SQL: DuckDB over views of every table."""

from __future__ import annotations

import duckdb
import polars as pl

from dagster_project.contract.model import Catalog
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.storage import LAYERS, Storage
from dagster_project.lake.table import Table, TableSpec


def query(sql: str, *, catalog: Catalog, storage: Storage) -> pl.DataFrame:
    """Run SQL over `bronze.*`, `silver.*`, `gold.*`, `quarantine.*` and `ledger.*`; tables that hold nothing yet are empty views.

    Raises:
        LakeError: the SQL does not run.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for layer in LAYERS:
            connection.execute(f"CREATE SCHEMA {layer}")
        for dataset in catalog.datasets:
            for spec in (
                specs.bronze(dataset),
                specs.silver(dataset),
                specs.quarantine(dataset),
                specs.ledger(dataset),
            ):
                _register(connection, spec, storage)
            _views(connection, dataset.name)
        for mart in catalog.marts:
            _register(connection, specs.gold(mart), storage)
            connection.execute(f'CREATE VIEW gold."{mart.name}" AS FROM "_gold_{mart.name}"')
        try:
            # Materialized before the connection closes, and through Arrow: lists and decimals keep their types.
            return pl.DataFrame(connection.sql(sql).to_arrow_table())
        except duckdb.Error as error:
            tables = [
                *(f"silver.{dataset.name}" for dataset in catalog.datasets),
                *(f"gold.{mart.name}" for mart in catalog.marts),
            ]
            raise LakeError(str(error), expected="SQL over " + ", ".join(tables), remedy="correct the SQL") from error


def _register(connection: duckdb.DuckDBPyConnection, spec: TableSpec, storage: Storage) -> None:
    table = Table.find(spec, storage=storage)
    name = f"_{spec.layer}_{spec.name}"
    if table is None:
        connection.register(name, pl.DataFrame(schema=dict(spec.schema)).to_arrow())
    else:
        # Read while the query runs, and only its columns. Not as delta-rs's data set: where the log has no bounds of a
        # column, as is so for most, that takes every filter on it for one that no row passes.
        connection.register(name, table.rows())


def _views(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    for layer in ("bronze", "ledger"):
        connection.execute(f'CREATE VIEW {layer}."{name}" AS FROM "_{layer}_{name}"')
    connection.execute(
        f'CREATE VIEW silver."{name}" AS SELECT * EXCLUDE (_deleted) FROM "_silver_{name}" WHERE NOT _deleted'
    )
    # One place to look for everything that was held back: what could not be decoded, and what broke a rule.
    coordinates = "_kafka_partition, _kafka_offset, _kafka_timestamp, _correlation_id, _batch_id"
    connection.execute(f"""
        CREATE VIEW quarantine."{name}" AS
        SELECT 'gate' AS stage, _reasons AS reasons, {coordinates}, event_date, region, _key, _payload
        FROM "_quarantine_{name}" WHERE {specs.RELEASE} IS NULL
        UNION ALL BY NAME
        SELECT 'decode' AS stage, [_error] AS reasons, {coordinates}, event_date, region, _key, _payload
        FROM "_bronze_{name}" WHERE _kind = '{specs.POISON}'
    """)
