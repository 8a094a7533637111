"""What an Avro message has and the contract does not know, as JSON: the same text as a JSON message would be rescued as."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import math
import uuid
from collections.abc import Collection
from decimal import Decimal
from typing import Any

import fastavro

from dagster_project.contract.model import Column, DataType

# Of times that Python's calendar does not have.
_BEYOND = (OverflowError, ValueError)
_PRIMITIVE = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


class Rescue:
    """Finds what is unknown in messages of one schema.

    An optional field that is null is not there: of Avro each message has all fields of its schema. Bytes are text, or
    `{"base64": …}` where they are none; decimals are text; a message with a time beyond the calendar has all its logical
    types as the bare numbers and bytes.

    Args:
        drifted: the outer fields that are unknown or have something unknown in them.
        written: the schema, as `fastavro.parse_schema` gives it.
        plain: … without logical types.
    """

    def __init__(self, drifted: Collection[str], columns: tuple[Column, ...], *, written: Any, plain: Any) -> None:
        self._types = {column.name: column.type for column in columns}
        self._written = written
        self._plain = plain
        wanted = [field for field in written["fields"] if field["name"] in drifted]
        # To pass over the other fields takes a third of the time; but of several branches fastavro may take another one.
        self._wanted = None if any(_has_choice(field["type"]) for field in wanted) else {**written, "fields": wanted}

    def __call__(self, payload: bytes) -> str | None:
        """A JSON object of the outer fields that are unknown, or have something unknown in them; `None` if there are none.

        Args:
            payload: a whole message.
        """
        try:
            message: Any = fastavro.schemaless_reader(io.BytesIO(payload), self._written, self._wanted)
        except _BEYOND:
            message = fastavro.schemaless_reader(io.BytesIO(payload), self._plain, None)
        types = self._types
        more = {name: value for name, value in message.items() if _has_more(value, types.get(name))}
        rescued = {name: _spelled(value, types.get(name)) for name, value in more.items()}
        return json.dumps(rescued, ensure_ascii=False) if rescued else None


def _has_choice(schema: Any) -> bool:
    """Whether there is a union of more than null and one type; so may be behind a name."""
    if isinstance(schema, list):
        return len(schema) > 2 or any(map(_has_choice, schema))  # noqa: PLR2004 null and one
    if isinstance(schema, str):
        return schema not in _PRIMITIVE
    inner = [schema[name] for name in ("items", "values") if name in schema]
    return any(map(_has_choice, [*inner, *(field["type"] for field in schema.get("fields", ()))]))


def _has_more(value: Any, data_type: DataType | None) -> bool:
    if value is None:
        return False
    if data_type is None:
        return True
    if isinstance(value, list) and data_type.element is not None:
        return any(_has_more(item, data_type.element) for item in value)
    types = {field.name: field.type for field in data_type.fields}
    return isinstance(value, dict) and any(_has_more(inner, types.get(name)) for name, inner in value.items())


def _spelled(value: Any, data_type: DataType | None) -> Any:
    match value:
        case dict():
            types = {field.name: field.type for field in data_type.fields} if data_type else {}
            kept = ((name, inner) for name, inner in value.items() if inner is not None or not types or name in types)
            return {name: _spelled(inner, types.get(name)) for name, inner in kept}
        case list():
            return [_spelled(item, data_type.element if data_type else None) for item in value]
        case bytes():
            return _text(value)
        case Decimal():
            return format(value, "f")
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case uuid.UUID():
            return str(value)
        case float() if not math.isfinite(value):
            return str(value)  # JSON has no number for it
        case _:
            return value


def _text(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}
