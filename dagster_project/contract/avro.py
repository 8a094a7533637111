"""A contract's columns as the Avro schema that producers write with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dagster_project.contract.model import Column, Dataset, DataType

_BRANCHES = 2  # of an optional field: null and its type


def avro_schema(dataset: Dataset) -> dict[str, Any]:
    """The schema of a dataset's messages.

    Of the contract's rules only types and what is required are in it: bounds and enums judge rows, and in a schema that
    is registered for good they could never be loosened.
    """
    namespace = re.sub(r"[^A-Za-z0-9_]|^(?=\d)", "_", dataset.domain)
    described = {"doc": dataset.description} if dataset.description else {}
    return {**_record(dataset.name, namespace, dataset.columns), **described}


def columns_of(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    """The columns of a record that `avro_schema` wrote, without what is not in it, such as bounds.

    Raises:
        ValueError: somebody else wrote it.
    """
    return tuple(_column(field) for field in schema["fields"])


def _column(field: Mapping[str, Any]) -> Column:
    kind = field["type"]
    optional = isinstance(kind, list)
    if optional and (len(kind) != _BRANCHES or kind[0] != "null"):
        raise ValueError(f"{field['name']}: a union that no contract has")
    return Column(name=field["name"], type=_data_type(kind[1] if optional else kind), required=not optional)


def _data_type(kind: Any) -> DataType:
    match kind:
        case "string" | "boolean":
            return DataType(kind=kind)
        case "double":
            return DataType(kind="number")
        case "int" | "long":
            return DataType(kind="integer", bits=32 if kind == "int" else 64)
        case {"type": "record"}:
            return DataType(kind="struct", fields=columns_of(kind))
        case {"type": "array", "items": items}:
            return DataType(kind="list", element=_data_type(items))
        case {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}:
            return DataType(kind="decimal", precision=precision, scale=scale)
        case {"type": "long", "logicalType": "timestamp-micros"}:
            return DataType(kind="timestamp")
        case {"type": "int", "logicalType": "date"}:
            return DataType(kind="date")
        case _:
            raise ValueError(f"{kind}: a type that no contract has")


def _record(name: str, namespace: str, columns: tuple[Column, ...]) -> dict[str, Any]:
    # What is nested is named by where it is, so that no two records have one name.
    inside = f"{namespace}.{name}"
    return {
        "type": "record",
        "name": name,
        "namespace": namespace,
        "fields": [_field(column, inside) for column in columns],
    }


def _field(column: Column, namespace: str) -> dict[str, Any]:
    data_type = _type(column.type, column.name, namespace)
    described = {"doc": column.description} if column.description else {}
    if column.required:
        return {"name": column.name, "type": data_type, **described}
    # Null first, as its default must be of the first branch: with it readers and writers that do not know the field agree.
    return {"name": column.name, "type": ["null", data_type], "default": None, **described}


def _type(data_type: DataType, name: str, namespace: str) -> Any:
    match data_type.kind:
        case "struct":
            return _record(name, namespace, data_type.fields)
        case "list":
            assert data_type.element is not None
            return {"type": "array", "items": _type(data_type.element, name, namespace)}
        case "decimal":
            return {
                "type": "bytes",
                "logicalType": "decimal",
                "precision": data_type.precision,
                "scale": data_type.scale,
            }
        case "timestamp":
            return {"type": "long", "logicalType": "timestamp-micros"}
        case "date":
            return {"type": "int", "logicalType": "date"}
        case "integer":
            return "int" if data_type.bits == 32 else "long"
        case kind:
            return {"number": "double"}.get(kind, kind)
