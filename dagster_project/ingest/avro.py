"""Decoding Avro by column, and by fastavro what does not go into a column as it is."""

from __future__ import annotations

import datetime as dt
import io
import json
import math
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
from fastavro.schema import SchemaParseException, UnknownType

from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import LARGEST_BYTES, Column, DataType
from dagster_project.ingest import avro_scanner, exact
from dagster_project.ingest.arrow import Array, valid
from dagster_project.ingest.avro_program import UNITS, Unfit, compile_program, kind_of
from dagster_project.ingest.avro_rescue import Rescue
from dagster_project.ingest.compiled import Bytes, Marks, Numbers, Sizes
from dagster_project.ingest.decode import Decoder, Scanned
from dagster_project.ingest.exact import Rejected
from dagster_project.ingest.scanner import Members, Slots
from dagster_project.lake.specs import RESCUED

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# Bits of a decimal: several times what fits any column, and quick to convert.
_LONGEST = 1_024
_DECIMALS = Context(prec=_LONGEST)  # as they are
_FLOAT, _DOUBLE = 4, 8  # bytes
# How fastavro and the JSON parser say so.
_NO_SCHEMA = (SchemaParseException, UnknownType, ValueError, KeyError, TypeError, RecursionError)


class AvroDecoder(Decoder):
    """Decodes messages that were written with one schema, by its columns of a contract.

    A compiled scanner reads all of them, and says which are broken. Of the others it leaves those to fastavro that have a
    value which does not go into its column as it is: text that is no UTF-8, a decimal of more than 64 bits or with more
    decimals than the contract has, a time beyond the calendar, a number that is none. Where the schema has fields that the
    contract does not know, fastavro reads each message a second time, for `_rescued`.
    """

    def __init__(self, schema: str, columns: tuple[Column, ...], *, largest: int = LARGEST_BYTES) -> None:
        """Compile the schema.

        Args:
            largest: as of `Decoder`.

        Raises:
            Unfit: it does not go with the contract.
        """
        super().__init__(columns, largest=largest)
        self._named: dict[str, Any] = {}
        try:
            self._written: Any = fastavro.parse_schema(json.loads(schema), self._named)
            self._plain: Any = fastavro.parse_schema(_plain(json.loads(schema)))
        except _NO_SCHEMA as error:
            raise Unfit(f"no schema of Avro: {error}") from error
        self._program, drifted = compile_program(self._written, columns, self._layout, named=self._named)
        self._rescue = Rescue(drifted, columns, written=self._written, plain=self._plain) if drifted else None
        self._broken = np.zeros(0, np.bool_)

    def _scan(self, content: Bytes, offsets: Numbers, room: int) -> Scanned | None:
        found = super()._scan(content, offsets, room)
        if found is None:
            return None
        return _Scanned(
            layout=found.layout,
            content=content,
            slots=found.slots,
            unknown=found.unknown,
            doubts=found.doubts,
            offsets=offsets,
            rescue=self._rescue,
        )

    def _fill(self, content: Bytes, offsets: Numbers, slots: Slots, unknown: Members, doubts: Marks) -> bool:
        unknown.used[:] = 0  # what the contract does not know has no text of its own here
        self._broken = np.zeros_like(doubts)
        return avro_scanner.scan(content, offsets, self._layout, self._program, slots, doubts, self._broken)

    def _exactly(self, payload: bytes, row: int) -> dict[str, object]:
        # Only what is whole: fastavro takes some of what is broken for something else.
        if self._broken[row]:
            raise Rejected("payload.avro: not what its schema says")
        try:
            message = fastavro.schemaless_reader(io.BytesIO(payload), self._plain, None)
        except UnicodeDecodeError as error:
            raise Rejected(f"payload.utf8: {error.reason}") from error
        known: dict[str, object] = self._value(
            message, self._written, DataType(kind="struct", fields=self._columns), ""
        )
        return {**known, RESCUED: self._rescue(payload) if self._rescue else None}

    def _value(self, value: Any, schema: Any, data_type: DataType, path: str) -> Any:
        """A column's value from what fastavro read without looking at logical types."""
        if value is None:
            return None
        if isinstance(schema, list):
            schema = next(branch for branch in schema if kind_of(branch) != "null")
        schema = self._named.get(schema, schema) if isinstance(schema, str) else schema
        match data_type.kind:
            case "struct":
                written = {field["name"]: field["type"] for field in schema["fields"]}
                return {
                    field.name: self._value(
                        value.get(field.name), written.get(field.name), field.type, f"{path}.{field.name}".lstrip(".")
                    )
                    for field in data_type.fields
                }
            case "list":
                assert data_type.element is not None
                exact.check_length(value, path)
                return [self._value(item, schema["items"], data_type.element, f"{path}[]") for item in value]
            case "decimal":
                return _decimal(value, schema, data_type, path)
            case "timestamp" | "date":
                return _time(value, schema, data_type, path)
            case "number":
                if not math.isfinite(value):
                    raise Rejected(f"{path}.range: does not fit {describe(data_type)}")
                return float(value)
            case "string" if isinstance(value, bytes):
                return _text(value)
            case _:
                return value


@dataclass(frozen=True, kw_only=True)
class _Scanned(Scanned):
    """Numbers are there as they are, not as text.

    Attributes:
        offsets: where each message begins, and where the last one ends.
        rescue: what of a message the contract does not know; `None` where the schema has nothing of that kind.
    """

    offsets: Numbers
    rescue: Rescue | None

    def rescued(self) -> pl.Series:
        if self.rescue is None:
            return super().rescued()
        bounds = self.offsets.tolist()
        texts = [
            None if doubtful else self.rescue(self.content[start:end].tobytes())
            for start, end, doubtful in zip(bounds, bounds[1:], self.doubts.tolist(), strict=False)
        ]
        return pl.Series(texts, dtype=pl.String)

    def _doubles(self, starts: Numbers, sizes: Sizes) -> Array:
        values = starts.astype(np.float64)
        wide, narrow = sizes == _DOUBLE, sizes == _FLOAT
        values[wide] = starts[wide].view(np.float64)
        values[narrow] = starts[narrow].astype(np.int32).view(np.float32)
        return pa.Array.from_buffers(pa.float64(), len(values), [valid(sizes < 0), pa.py_buffer(values)])


def _plain(schema: Any) -> Any:
    """The schema without logical types."""
    if isinstance(schema, list):
        return [_plain(branch) for branch in schema]
    if not isinstance(schema, dict):
        return schema
    within = ("type", "items", "values", "fields")
    return {key: _plain(part) if key in within else part for key, part in schema.items() if key != "logicalType"}


def _decimal(value: bytes, schema: Any, data_type: DataType, path: str) -> Decimal:
    unscaled = int.from_bytes(value, "big", signed=True)
    if unscaled.bit_length() > _LONGEST:
        raise Rejected(f"{path}.range: does not fit {describe(data_type)}")
    return exact.as_decimal(Decimal(unscaled).scaleb(-int(schema.get("scale", 0)), _DECIMALS), data_type, path)


def _time(value: int, schema: Any, data_type: DataType, path: str) -> dt.datetime | dt.date:
    try:
        if data_type.kind == "date":
            return dt.date.fromordinal(_EPOCH.toordinal() + value)
        return _EPOCH + dt.timedelta(microseconds=value * UNITS[schema["logicalType"]])
    except (ValueError, OverflowError) as error:
        raise Rejected(f"{path}.range: beyond the calendar") from error


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"payload.utf8: {error.reason}") from error
