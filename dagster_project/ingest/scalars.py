"""Scalars of a column from their JSON text, and where the text leaves a doubt about the value.

No doubt means: the value is what `exact` would make of the text. With a doubt, `exact` decides.
"""

from __future__ import annotations

import json

import duckdb
import polars as pl

from dagster_project.contract.dtypes import polars_type
from dagster_project.contract.model import DataType
from dagster_project.ingest.moments import moments

# A double holds 15 decimal digits exactly: with sign or point, numbers of this length have no more.
_EXACT_CHARACTERS = 16


def json_type(data_type: DataType) -> object:
    """What DuckDB's `json_transform` is to make of a column: its structure, and the JSON text of its scalars."""
    match data_type.kind:
        case "list":
            assert data_type.element is not None
            return [json_type(data_type.element)]
        case "struct":
            return {field.name: json_type(field.type) for field in data_type.fields}
        case "timestamp" | "date":
            return "VARCHAR"  # no other JSON value looks like a moment once its quotes are gone
        case _:
            return "JSON"


def read(text: pl.Series, data_type: DataType, *, connection: duckdb.DuckDBPyConnection) -> tuple[pl.Series, pl.Series]:
    """Values of a scalar type, and a Boolean series of doubts; null stays null, without a doubt.

    Args:
        text: JSON text, as `json_type` has DuckDB give it.
    """
    match data_type.kind:
        case "string":
            values, sure = _strings(text)
        case "decimal":
            values, sure = _decimals(text, data_type)
        case "boolean":
            values = text == "true"
            sure = text.is_in(["true", "false"])
        case "timestamp" | "date":
            values = moments(text, data_type, connection=connection)
            sure = values.is_not_null()
        case "number":
            values = text.cast(pl.Float64, strict=False)
            sure = values.is_finite()
        case _:
            values = text.cast(pl.Int64, strict=False).cast(polars_type(data_type), strict=False)
            sure = values.is_not_null()
    return values, text.is_not_null() & ~sure.fill_null(False)


def _strings(text: pl.Series) -> tuple[pl.Series, pl.Series]:
    values = text.str.strip_prefix('"').str.strip_suffix('"')
    sure = text.str.starts_with('"')
    # DuckDB has written the text anew, so that only quotes, backslashes and control characters are escaped.
    escaped = (text.str.contains("\\", literal=True) & sure).fill_null(False)
    if escaped.any():
        plain = pl.Series(json.loads("[" + ",".join(text.filter(escaped)) + "]"), dtype=pl.String)
        values = values.scatter(escaped.arg_true(), plain)
    return values, sure


def _decimals(text: pl.Series, data_type: DataType) -> tuple[pl.Series, pl.Series]:
    """Numbers, which DuckDB took for doubles, and strings with numbers, which are as they were sent."""
    spelled = text.str.starts_with('"')
    digits = text.str.strip_prefix('"').str.strip_suffix('"').str.strip_suffix(".0")
    values = digits.cast(polars_type(data_type), strict=False)
    fraction = rf"(\.[0-9]{{1,{data_type.scale}}})?" if data_type.scale else ""
    plain = digits.str.contains(rf"^-?[0-9]+{fraction}$")
    return values, plain & values.is_not_null() & (spelled | (digits.str.len_bytes() <= _EXACT_CHARACTERS))
