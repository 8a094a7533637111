"""Columns in Spark's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from dagster_project.lake.columns import instance

# Name and type in Spark.
Column = tuple[str, str]


def columns_of(schema: Mapping[str, pl.DataType]) -> tuple[Column, ...]:
    return tuple((name, spark_type(dtype)) for name, dtype in schema.items())


def spark_type(dtype: pl.DataType) -> str:
    """The type, as Spark's DDL."""
    match dtype:
        case pl.List():
            return f"ARRAY<{spark_type(instance(dtype.inner))}>"
        case pl.Struct():
            return (
                "STRUCT<"
                + ", ".join(f"`{field.name}`: {spark_type(instance(field.dtype))}" for field in dtype.fields)
                + ">"
            )
        case pl.Decimal():
            return f"DECIMAL({dtype.precision}, {dtype.scale})"
        case _:
            return _TYPES[type(dtype)]


_TYPES: Mapping[type[pl.DataType], str] = {
    pl.String: "STRING",
    pl.Binary: "BINARY",
    pl.Int32: "INT",
    pl.Int64: "BIGINT",
    pl.Float64: "DOUBLE",
    pl.Boolean: "BOOLEAN",
    pl.Date: "DATE",
    pl.Datetime: "TIMESTAMP",
}


def ddl(columns: Sequence[Column]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns)
