"""Columns of a contract: logical and physical types."""

from __future__ import annotations

import re
from collections.abc import Sequence

from open_data_contract_standard.model import SchemaProperty

from dagster_project.contract.constraints import COLUMN_NAME, Report, compile_constraints, renamed_from
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, DataType

_DECIMAL = re.compile(r"decimal\(\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)", re.IGNORECASE | re.ASCII)
_MAX_PRECISION = 38  # Delta's and DuckDB's widest decimal
_KINDS = {"string": "string", "boolean": "boolean", "date": "date", "timestamp": "timestamp"}


def compile_columns(properties: Sequence[SchemaProperty], path: Steps, report: Report) -> tuple[Column, ...]:
    """Compile a list of properties; `report` receives path, what was found and what to write instead."""
    columns = tuple(_column(item, (*path, index), report) for index, item in enumerate(properties))
    names = [column.name.lower() for column in columns]
    for index, name in enumerate(names):
        if name in names[:index]:
            report((*path, index, "name"), f"a second column {name!r}", "names that differ in more than case")
    for index, column in enumerate(columns):
        if column.renamed_from.lower() in names:
            found = f"{column.name!r} is renamed from {column.renamed_from!r}, which is a column, too"
            report((*path, index, "customProperties"), found, "a name that is no column any more")
    return columns


def _column(item: SchemaProperty, path: Steps, report: Report) -> Column:
    if not item.name or not COLUMN_NAME.fullmatch(item.name):
        report((*path, "name"), repr(item.name), "letters, digits and _, starting with a letter")
    data_type = _type(item, path, report)
    return Column(
        name=item.name or "",
        type=data_type,
        required=bool(item.required),
        description=item.description or "",
        constraints=compile_constraints(item, data_type, path, report),
        classification=item.classification or "",
        renamed_from=renamed_from(item, path, report),
    )


def _type(item: SchemaProperty, path: Steps, report: Report) -> DataType:
    logical, options = item.logicalType, item.logicalTypeOptions or {}
    if logical in _KINDS:
        return DataType(kind=_KINDS[logical])  # pyright: ignore[reportArgumentType] the table's values are kinds
    if logical == "integer":
        return DataType(kind="integer", bits=32 if options.get("format") == "i32" else 64)
    if logical == "number":
        physical = item.physicalType or "double"
        if match := _DECIMAL.fullmatch(physical):
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
