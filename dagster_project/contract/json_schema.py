"""A contract's columns as a JSON Schema, and whether messages that were written by another one can have them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster_project.contract.model import Column, Dataset, DataType

# Of draft 7, which every registry knows.
_DRAFT = "http://json-schema.org/draft-07/schema#"
# What the decoder reads: money may be spelled as text, too, so that no parser on the way rounds it.
_TYPES: dict[str, tuple[str, ...]] = {
    "string": ("string",),
    "integer": ("integer", "number"),
    "number": ("number", "integer"),
    "decimal": ("number", "integer", "string"),
    "boolean": ("boolean",),
    "date": ("string",),
    "timestamp": ("string",),
    "list": ("array",),
    "struct": ("object",),
}
_FORMATS = {"date": "date", "timestamp": "date-time"}


def json_schema(dataset: Dataset) -> dict[str, Any]:
    """The schema of a dataset's messages; as in `avro_schema`, bounds and enums are not in it."""
    described = {"description": dataset.description} if dataset.description else {}
    return {"$schema": _DRAFT, "title": dataset.name, **described, **_object(dataset.columns)}


def mismatches(schema: Any, columns: tuple[Column, ...]) -> Iterator[str]:
    """Why no message that is valid by a schema has these columns; nothing where some have.

    Looks at types and at what cannot be there: each message is decoded and judged by itself all the same.
    """
    yield from _mismatches(schema, DataType(kind="struct", fields=columns), "payload")


def _object(columns: tuple[Column, ...]) -> dict[str, Any]:
    required = [column.name for column in columns if column.required]
    return {
        "type": "object",
        "properties": {column.name: _property(column) for column in columns},
        **({"required": required} if required else {}),
    }


def _property(column: Column) -> dict[str, Any]:
    schema = _value(column.type)
    described = {"description": column.description} if column.description else {}
    return {**schema, **described} if column.required else {**schema, "type": [schema["type"], "null"], **described}


def _value(data_type: DataType) -> dict[str, Any]:
    if data_type.kind == "struct":
        return _object(data_type.fields)
    schema: dict[str, Any] = {"type": "number" if data_type.kind == "decimal" else _TYPES[data_type.kind][0]}
    if data_type.kind == "list":
        assert data_type.element is not None
        return {**schema, "items": _value(data_type.element)}
    return {**schema, "format": _FORMATS[data_type.kind]} if data_type.kind in _FORMATS else schema


def _mismatches(schema: Any, data_type: DataType, path: str) -> Iterator[str]:
    if not isinstance(schema, dict):  # `true` allows everything; and what is no schema, nobody can judge
        return
    named: Any = schema.get("type")
    types: set[str] = {named} if isinstance(named, str) else set(named or ())
    if types and types.isdisjoint((*_TYPES[data_type.kind], "null")):
        found = ", ".join(sorted(types))
        yield f"{path}: found {found}, expected {' or '.join(_TYPES[data_type.kind])}"
        return
    if data_type.kind == "list" and data_type.element is not None:
        yield from _mismatches(schema.get("items"), data_type.element, f"{path}[]")
    properties: Any = schema.get("properties")
    for field in data_type.fields if isinstance(properties, dict) else ():
        inside = field.name if path == "payload" else f"{path}.{field.name}"
        if field.name in properties:
            yield from _mismatches(properties[field.name], field.type, inside)
        elif field.required and schema.get("additionalProperties") is False:
            yield f"{inside}: not in it, and required"
