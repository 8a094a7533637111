"""Which columns a mart's column comes from, read off its SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from dagster_project.contract.dtypes import duckdb_type
from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Catalog, Column, Mart

# Where a column of a mart comes from: `silver` or `gold`, the table's name there, and the column's.
_Layer = Literal["silver", "gold"]
Origin = tuple[_Layer, str, str]
_LAYERS: tuple[_Layer, ...] = ("silver", "gold")

_WATERMARKS = {"dataset": "VARCHAR", "region": "VARCHAR", "watermark": "TIMESTAMPTZ", "silent": "BOOLEAN"}
# What SQL may name beside the contract's columns.
_PLATFORM = {
    "_kafka_partition": "INTEGER",
    "_kafka_offset": "BIGINT",
    "_kafka_timestamp": "TIMESTAMPTZ",
    "_correlation_id": "VARCHAR",
    "_batch_id": "BIGINT",
    "_rescued": "VARCHAR",
    "_late_us": "BIGINT",
}
# Beside these, of a dataset that keeps its history.
_HISTORY = {"_deleted": "BOOLEAN", "_version_time": "TIMESTAMPTZ"}


def origins(mart: Mart, catalog: Catalog) -> dict[str, list[Origin]]:
    """By column of the mart, the columns of Silver and of other marts that it is computed from; none for `count(*)`.

    Tables of the platform itself, such as `lake.watermarks`, are no origin.
    """
    # Takes a third of a second to import, and few processes need it.
    from sqlglot.expressions import Table
    from sqlglot.lineage import lineage

    schema = sql_schema(mart, catalog)
    found: dict[str, list[Origin]] = {}
    for column in mart.columns:
        leaves = lineage(column.name, mart.sql, dialect="duckdb", schema=schema).walk()
        found[column.name] = sorted(
            {
                (layer, leaf.source.name, leaf.name.rpartition(".")[2])
                for leaf in leaves
                for layer in _LAYERS
                if not leaf.downstream and isinstance(leaf.source, Table) and leaf.source.db == layer
            }
        )
    return found


def sql_schema(mart: Mart, catalog: Catalog) -> dict[str, object]:
    """By layer, table and column, the types of DuckDB that a mart's SQL sees."""
    tables: dict[str, dict[str, dict[str, str]]] = {
        "silver": {name: _silver(name, catalog) for name in mart.datasets},
        "gold": {name: _types(catalog.mart(name).columns) for name in mart.marts},
        "lake": {"watermarks": _WATERMARKS},
    }
    return {layer: own for layer, own in tables.items() if own}


def _types(columns: Iterable[Column]) -> dict[str, str]:
    return {column.name: duckdb_type(column.type) for column in columns}


def _silver(name: str, catalog: Catalog) -> dict[str, str]:
    """As readers have them: columns of both versions, and of what was renamed both names."""
    versions = catalog.versions(name)
    return {
        DATE_COLUMN: "DATE",
        REGION_COLUMN: "VARCHAR",
        **_PLATFORM,
        **(_HISTORY if any(version.write_mode == "history" for version in versions) else {}),
        **{
            column_name: duckdb_type(column.type)
            for version in versions
            for column in version.published
            for column_name in filter(None, (column.renamed_from, column.name))
        },
    }
