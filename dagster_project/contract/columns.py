"""Columns of a contract: logical and physical types, and the bounds on their values."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl
from open_data_contract_standard.model import SchemaProperty

from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, Constraints, DataType

Report = Callable[[Steps, str, str], None]

_DECIMAL = re.compile(r"^decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)$", re.IGNORECASE)
_MAX_PRECISION = 38  # Delta's and DuckDB's widest decimal
# Formats of the standard that are checked, as patterns.
_FORMATS = {"uuid": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}
_KINDS = {"string": "string", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}


def compile_columns(properties: Sequence[SchemaProperty], path: Steps, report: Report) -> tuple[Column, ...]:
    """Compile a list of properties; `report` receives path, what was found and what to write instead."""
    columns = tuple(_column(item, (*path, index), report) for index, item in enumerate(properties))
    names = [column.name.lower() for column in columns]
    for index, name in enumerate(names):
        if name in names[:index]:
            report((*path, index, "name"), f"a second column {name!r}", "names that differ in more than case")
    return columns


def _column(item: SchemaProperty, path: Steps, report: Report) -> Column:
    if not item.name or not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", item.name):
        report((*path, "name"), repr(item.name), "letters, digits and _, starting with a letter")
    data_type = _type(item, path, report)
    return Column(
        name=item.name or "",
        type=data_type,
        required=bool(item.required),
        description=item.description or "",
        constraints=_constraints(item, data_type, path, report),
        classification=item.classification or "",
    )


def _type(item: SchemaProperty, path: Steps, report: Report) -> DataType:
    logical, options = item.logicalType, item.logicalTypeOptions or {}
    if logical in _KINDS:
        return DataType(kind=_KINDS[logical])  # pyright: ignore[reportArgumentType] the table's values are kinds
    if logical == "integer":
        return DataType(kind="integer", bits=32 if options.get("format") == "i32" else 64)
    if logical == "number":
        physical = item.physicalType or "double"
        if match := _DECIMAL.match(physical):
            precision, scale = int(match[1]), int(match[2])
            if not 0 <= scale <= precision <= _MAX_PRECISION or precision == 0:
                report((*path, "physicalType"), physical, f"decimal(p, s) with 0 <= s <= p <= {_MAX_PRECISION}")
            return DataType(kind="decimal", precision=precision, scale=scale)
        if physical.lower() not in ("double", "float"):
            report((*path, "physicalType"), physical, "decimal(p, s) for exact values, or double")
        return DataType(kind="number")
    if logical == "array" and item.items is not None:
        # An element has no name of its own in the standard.
        element = item.items.model_copy(update={"name": item.items.name or "item"})
        options = set(item.items.logicalTypeOptions or {}) - {"format"}
        if options or item.items.enum:
            found = "rules on the elements of a list"
            expected = (
                "an SQL rule, such as len(list_filter(name, lambda x: x < 0)) = 0; objects in lists may have rules"
            )
            report((*path, "items"), found, expected)
        return DataType(kind="list", element=_type(element, (*path, "items"), report))
    if logical == "object" and item.properties:
        return DataType(kind="struct", fields=compile_columns(item.properties, (*path, "properties"), report))
    expected = {"array": "items: {logicalType: …}", "object": "properties: [{name: …}]"}.get(
        logical or "", "string, integer, number, boolean, date, timestamp, array or object"
    )
    report((*path, "logicalType"), repr(logical), expected)
    return DataType(kind="string")


def _constraints(item: SchemaProperty, data_type: DataType, path: Steps, report: Report) -> Constraints:
    options: Mapping[str, Any] = item.logicalTypeOptions or {}
    text_format = options.get("format") if data_type.kind == "string" else None
    if text_format is not None and text_format not in _FORMATS:
        report(
            (*path, "logicalTypeOptions", "format"),
            repr(text_format),
            "one of " + ", ".join(_FORMATS) + ", or a pattern",
        )
    pattern = options.get("pattern", _FORMATS.get(text_format or ""))
    if pattern is not None:
        try:
            pl.Series([""]).str.contains(pattern)
        except pl.exceptions.ComputeError as error:
            found = f"{pattern!r} ({str(error).splitlines()[-1]})"
            report(
                (*path, "logicalTypeOptions", "pattern"),
                found,
                "a regular expression without look-around or back-references",
            )
            pattern = None
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        if low in options and high in options and options[low] > options[high]:
            report((*path, "logicalTypeOptions", low), f"{options[low]!r} > {options[high]!r}", f"{low} <= {high}")
    kinds: tuple[type, ...] = {"string": (str,), "integer": (int,)}.get(data_type.kind, (int, float))
    if misfits := [value.value for value in item.enum or () if not isinstance(value.value, kinds)]:
        report(
            (*path, "enum"), f"{misfits[0]!r} in the enum of type {data_type.kind}", f"values of type {data_type.kind}"
        )
    minimum, maximum = (
        _bound(options.get(name), data_type, (*path, "logicalTypeOptions", name), report)
        for name in ("minimum", "maximum")
    )
    return Constraints(
        enum=tuple(value.value for value in item.enum or () if isinstance(value.value, (str, int, float))),
        minimum=minimum,
        maximum=maximum,
        min_length=options.get("minLength"),
        max_length=options.get("maxLength"),
        pattern=pattern,
        min_items=options.get("minItems"),
        max_items=options.get("maxItems"),
    )


def _bound(value: Any, data_type: DataType, path: Steps, report: Report) -> float | str | None:
    if value is None:
        return None
    if data_type.kind in ("integer", "number", "decimal"):
        if isinstance(value, (int, float)):
            return value
        report(path, repr(value), "a number")
    elif data_type.kind in ("date", "timestamp"):
        try:
            dt.datetime.fromisoformat(str(value))
        except ValueError:
            report(path, repr(value), "an ISO 8601 date or time")
        return str(value)
    else:
        report(path, f"a bound on a {data_type.kind}", "minimum and maximum on numbers, dates and timestamps only")
    return None
