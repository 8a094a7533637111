"""Row rules of a contract as polars expressions, each named after the place in the contract that asks for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP, polars_type
from dagster_project.contract.model import Column, Constraints, DataType


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule and the expression that is true for rows that break it; null counts as kept."""

    name: str
    broken: pl.Expr


def compile_rules(columns: tuple[Column, ...]) -> list[Rule]:
    """All rules of the columns and of everything nested in them, such as `items[].quantity.minimum`."""
    return [
        Rule(name=f"{column.name}{suffix}", broken=broken)
        for column in columns
        for suffix, broken in _column_rules(column, pl.col(column.name))
    ]


def _column_rules(column: Column, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if column.required:
        yield ".required", value.is_null()
    yield from _value_rules(column.constraints, column.type, value)
    for suffix, broken in _nested_rules(column.type, value):
        # Nothing is required of the inside of an object that is not there.
        yield suffix, broken & value.is_not_null()


def _nested_rules(data_type: DataType, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if data_type.kind == "list":
        assert data_type.element is not None
        for suffix, broken in _nested_rules(data_type.element, pl.element()):
            yield f"[]{suffix}", value.list.eval(broken).list.any()
    for field in data_type.fields:
        for suffix, broken in _column_rules(field, value.struct.field(field.name)):
            yield f".{field.name}{suffix}", broken


def _value_rules(bounds: Constraints, data_type: DataType, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if bounds.enum:
        yield ".enum", ~value.is_in(list(bounds.enum))
    yield from _range_rules(bounds, data_type, value)
    yield from _length_rules(bounds, value)
    if bounds.pattern is not None:
        yield ".pattern", ~value.str.contains(bounds.pattern)
    if bounds.unique_items:
        yield ".uniqueItems", value.list.n_unique() < value.list.len()


def _range_rules(bounds: Constraints, data_type: DataType, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if bounds.minimum is not None:
        yield ".minimum", value < _literal(bounds.minimum, data_type)
    if bounds.maximum is not None:
        yield ".maximum", value > _literal(bounds.maximum, data_type)
    if bounds.exclusive_minimum is not None:
        yield ".exclusiveMinimum", value <= _literal(bounds.exclusive_minimum, data_type)
    if bounds.exclusive_maximum is not None:
        yield ".exclusiveMaximum", value >= _literal(bounds.exclusive_maximum, data_type)
    if bounds.multiple_of is not None:
        yield ".multipleOf", value % _literal(bounds.multiple_of, data_type) != 0
    if bounds.not_in_future is not None:
        # Sent, not judged: every reading of the topic judges alike, and so does every retry.
        latest = pl.col("_kafka_timestamp") + bounds.not_in_future
        yield ".notInFuture", value > (latest.dt.date() if data_type.kind == "date" else latest)


def _length_rules(bounds: Constraints, value: pl.Expr) -> Iterator[tuple[str, pl.Expr]]:
    if bounds.min_length is not None:
        yield ".minLength", value.str.len_chars() < bounds.min_length
    if bounds.max_length is not None:
        yield ".maxLength", value.str.len_chars() > bounds.max_length
    if bounds.min_items is not None:
        yield ".minItems", value.list.len() < bounds.min_items
    if bounds.max_items is not None:
        yield ".maxItems", value.list.len() > bounds.max_items


def _literal(bound: float | str, data_type: DataType) -> pl.Expr:
    if isinstance(bound, str):
        moment = dt.datetime.fromisoformat(bound)
        if data_type.kind == "date":
            return pl.lit(moment.date())
        return pl.lit(moment.astimezone(dt.UTC) if moment.tzinfo else moment.replace(tzinfo=dt.UTC), TIMESTAMP)
    # A decimal column is compared as a decimal: money must not pass through a double.
    return pl.lit(str(bound)).cast(polars_type(data_type)) if data_type.kind == "decimal" else pl.lit(bound)
