"""Columns of a table that contracts of several versions write: what is stored, and what a contract wants beside it."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
from deltalake import Schema
from polars._typing import PolarsDataType


def to_delta(schema: Mapping[str, pl.DataType]) -> Schema:
    """Delta's schema of polars columns."""
    # Nullable throughout: what must not be null is a row rule, judged before the commit and explained to people.
    return Schema.from_arrow(pl.DataFrame(schema=dict(schema)).to_arrow(compat_level=pl.CompatLevel.oldest()).schema)


def of_delta(schema: Schema) -> dict[str, pl.DataType]:
    """Polars columns of Delta's schema."""
    # Not by pyarrow, which imports pandas for it: half a second in each process.
    return dict(pl.Schema(schema.to_arrow()))


def together(wanted: Mapping[str, pl.DataType], stored: Mapping[str, pl.DataType]) -> dict[str, pl.DataType]:
    """The wanted columns, with nested fields that are only stored, and then those that are only stored.

    A column whose types do not go together is as it is wanted.
    """
    both = {name: _union(dtype, stored.get(name, dtype)) or dtype for name, dtype in wanted.items()}
    return {**both, **{name: dtype for name, dtype in stored.items() if name not in wanted}}


def strangers(wanted: Mapping[str, pl.DataType], stored: Mapping[str, pl.DataType]) -> list[str]:
    """Columns whose stored type the wanted one cannot be added to."""
    return [name for name, dtype in wanted.items() if name in stored and _union(dtype, stored[name]) is None]


def _union(wanted: pl.DataType, stored: pl.DataType) -> pl.DataType | None:
    """The type with the nested fields of both, in the order of Delta: those that are stored first."""
    if isinstance(wanted, pl.Struct) and isinstance(stored, pl.Struct):
        fields: dict[str, pl.DataType] = {field.name: instance(field.dtype) for field in stored.fields}
        for field in wanted.fields:
            dtype = instance(field.dtype)
            union = _union(dtype, fields.get(field.name, dtype))
            if union is None:
                return None
            fields[field.name] = union
        return pl.Struct(fields)
    if isinstance(wanted, pl.List) and isinstance(stored, pl.List):
        inner = _union(instance(wanted.inner), instance(stored.inner))
        return None if inner is None else pl.List(inner)
    return stored if wanted == stored else None


def instance(dtype: PolarsDataType) -> pl.DataType:
    """An inner type, which polars lets be a class, too."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()
