"""A contract's types in the vocabulary of each engine."""

from __future__ import annotations

import polars as pl

from dagster_project.contract.model import Column, DataType

# Microseconds with UTC everywhere: a naive timestamp would need a Delta table feature that few readers know.
TIMESTAMP = pl.Datetime("us", "UTC")


def polars_type(data_type: DataType) -> pl.DataType:
    """The polars type, as written to Delta."""
    match data_type.kind:
        case "string":
            return pl.String()
        case "integer":
            return pl.Int32() if data_type.bits == 32 else pl.Int64()
        case "number":
            return pl.Float64()
        case "decimal":
            return pl.Decimal(data_type.precision, data_type.scale)
        case "boolean":
            return pl.Boolean()
        case "date":
            return pl.Date()
        case "timestamp":
            return TIMESTAMP
        case "list":
            assert data_type.element is not None
            return pl.List(polars_type(data_type.element))
        case "struct":
            return pl.Struct({field.name: polars_type(field.type) for field in data_type.fields})


def polars_schema(columns: tuple[Column, ...]) -> dict[str, pl.DataType]:
    """Column names and polars types, in contract order."""
    return {column.name: polars_type(column.type) for column in columns}


def duckdb_type(data_type: DataType) -> str:
    """The DuckDB type, as SQL."""
    match data_type.kind:
        case "list":
            assert data_type.element is not None
            return f"{duckdb_type(data_type.element)}[]"
        case "struct":
            return (
                "STRUCT(" + ", ".join(f'"{field.name}" {duckdb_type(field.type)}' for field in data_type.fields) + ")"
            )
        case "integer":
            return "INTEGER" if data_type.bits == 32 else "BIGINT"
        case "decimal":
            return f"DECIMAL({data_type.precision}, {data_type.scale})"
        case kind:
            return {
                "string": "VARCHAR",
                "number": "DOUBLE",
                "boolean": "BOOLEAN",
                "date": "DATE",
                "timestamp": "TIMESTAMPTZ",
            }[kind]


def describe(data_type: DataType) -> str:
    """The type as a person would write it: `decimal(18, 2)`, `list<struct<sku string>>`."""
    match data_type.kind:
        case "decimal":
            return f"decimal({data_type.precision}, {data_type.scale})"
        case "list":
            assert data_type.element is not None
            return f"list<{describe(data_type.element)}>"
        case "struct":
            return "struct<" + ", ".join(f"{field.name} {describe(field.type)}" for field in data_type.fields) + ">"
        case "integer":
            return "int" if data_type.bits == 32 else "bigint"
        case kind:
            return {"number": "double"}.get(kind, kind)
