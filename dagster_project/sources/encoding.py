"""Values as a contract's wire format spells them."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dagster_project.contract.avro import avro_schema
from dagster_project.contract.model import Dataset, DataType
from dagster_project.registry.schemas import Registry

Encode = Callable[[bytes], bytes]
# What fastavro finds wrong with values comes as any of these.
_MISFITS = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)


def plain(text: bytes) -> bytes:
    """The text itself."""
    return text


def encoder_of(dataset: Dataset, *, registry: str) -> Encode:
    """What makes a message of JSON text; registers the contract's schema where messages name it.

    Args:
        registry: URL of the schema registry; not looked at where the contract needs none.

    Raises:
        RegistryError: the registry does not answer.
        ContractError: the schema does not go with those registered before.
    """
    if dataset.topic.wire_format == "plain":
        return plain
    schema_id = Registry(registry).register(dataset).schema_id
    header = b"\x00" + schema_id.to_bytes(4, "big")
    body = _avro(dataset) if dataset.topic.format == "avro" else plain
    return lambda text: header + body(text)


def _avro(dataset: Dataset) -> Encode:
    import fastavro

    schema = fastavro.parse_schema(avro_schema(dataset))
    row = DataType(kind="struct", fields=dataset.columns)

    def encode(text: bytes) -> bytes:
        file = io.BytesIO()
        try:
            value = _value(json.loads(text, parse_float=Decimal), row)
            fits = fastavro.validate(value, schema, raise_errors=False)  # the writer itself would round a fraction
            if fits:
                fastavro.schemaless_writer(file, schema, value)
        except _MISFITS:
            fits = False
        return file.getvalue() if fits else text  # what a broken producer sends is no Avro at all

    return encode


def _value(value: Any, data_type: DataType) -> Any:
    """JSON's value as fastavro takes it."""
    match data_type.kind:
        case _ if value is None:
            return None
        case "struct":
            return {field.name: _value(value.get(field.name), field.type) for field in data_type.fields}
        case "list":
            assert data_type.element is not None
            return [_value(item, data_type.element) for item in value]
        case "timestamp":
            return dt.datetime.fromisoformat(value)
        case "date":
            return dt.date.fromisoformat(value)
        case "decimal":
            return Decimal(value)
        case "number":
            return float(value)
        case _:
            return value
