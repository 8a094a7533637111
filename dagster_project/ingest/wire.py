"""Messages in Confluent's wire format: a zero byte, the id of their schema as four bytes, and the value itself.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Protocol

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.json_schema import mismatches
from dagster_project.contract.model import Column, Dataset
from dagster_project.ingest.decode import Decoder
from dagster_project.lake.specs import ERROR, RESCUED
from dagster_project.registry.schemas import Registry, Schemas, WriterSchema

_MAGIC = b"\x00"
_HEADER = 5  # bytes before the value
_MOST_ID = (1 << 31) - 1  # ids are signed in the registry's API


class Decodes(Protocol):
    """Payloads to rows."""

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """Decode a Binary series without nulls.

        Returns:
            One row a payload, in order: the contract's columns, `_rescued` (all null where the payload is poison) and
            `_error`.
        """
        ...


def decoder_of(dataset: Dataset, *, registry: str) -> Decodes:
    """What decodes a dataset's payloads.

    Args:
        registry: URL of the registry that knows their schemas; not looked at where the contract needs none.
    """
    if any(column.renamed_from for column in dataset.columns):
        return _Renaming(dataset, decoder_of(_with_old_names(dataset), registry=registry))
    if dataset.topic.wire_format == "plain":
        return Decoder(dataset.columns)
    return WireDecoder(dataset, Registry(registry))


def _with_old_names(dataset: Dataset) -> Dataset:
    """The dataset with each renamed column twice: under its new name, and under the old one."""
    plain = tuple(replace(column, renamed_from="", required=False) for column in dataset.columns)
    old = tuple(
        replace(column, name=column.renamed_from, renamed_from="", required=False)
        for column in dataset.columns
        if column.renamed_from
    )
    return replace(dataset, columns=plain + old)


class _Renaming:
    """Takes a renamed column from its new name, and where a message has none, from the old one."""

    def __init__(self, dataset: Dataset, inner: Decodes) -> None:
        self._names = {column.name: column.renamed_from for column in dataset.columns if column.renamed_from}
        self._inner = inner

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        decoded = self._inner.decode(payloads)
        return decoded.with_columns(pl.coalesce(new, old).alias(new) for new, old in self._names.items()).drop(
            self._names.values()
        )


class WireDecoder:
    """Decodes payloads each of which names the schema that it was written with.

    A schema is asked for once: what an id means never changes. An id that nobody knows is asked for in each batch anew.
    """

    def __init__(self, dataset: Dataset, schemas: Schemas) -> None:
        self._dataset = dataset
        self._schemas = schemas
        self._known: dict[int, Decodes] = {}
        self._json = Decoder(dataset.columns)

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """As of `Decodes`.

        Raises:
            RegistryError: the registry does not say what a schema is.
        """
        ids = _schema_ids(payloads)
        bodies = payloads.bin.slice(_HEADER)
        found = ids.unique(maintain_order=True).to_list()
        if len(found) == 1:
            return self._decoder(found[0]).decode(bodies)
        parts: list[pl.DataFrame] = []
        for schema_id in found:
            rows = ids.eq_missing(schema_id)
            part = self._decoder(schema_id).decode(bodies.filter(rows))
            parts.append(part.with_columns(rows.arg_true().alias("_order")))
        if not parts:
            return self._json.decode(bodies)
        return pl.concat(parts).sort("_order").drop("_order")

    def _decoder(self, schema_id: int | None) -> Decodes:
        if schema_id is None:
            return self._refusing("payload.wire: no zero byte and schema id before the value")
        if schema_id not in self._known:
            schema = None if schema_id > _MOST_ID else self._schemas.schema(schema_id)
            if schema is None:
                return self._refusing(f"schema.unknown: id {schema_id} is not in the registry")
            self._known[schema_id] = self._reading(schema_id, schema)
        return self._known[schema_id]

    def _reading(self, schema_id: int, schema: WriterSchema) -> Decodes:
        wanted = self._dataset.topic.format
        if schema.kind != wanted.upper():
            return self._refusing(
                f"schema.incompatible: id {schema_id}: found {schema.kind}, expected {wanted.upper()}"
            )
        if wanted == "avro":
            return self._reading_avro(schema_id, schema)
        try:
            problem = next(mismatches(json.loads(schema.text), self._dataset.columns), None)
        except (ValueError, RecursionError) as error:
            problem = f"no JSON Schema: {error}"
        return self._json if problem is None else self._refusing(f"schema.incompatible: id {schema_id}: {problem}")

    def _reading_avro(self, schema_id: int, schema: WriterSchema) -> Decodes:
        # Imported here, as few contracts are of Avro.
        from dagster_project.ingest.avro import AvroDecoder
        from dagster_project.ingest.avro_program import Unfit

        try:
            return AvroDecoder(schema.text, self._dataset.columns)
        except Unfit as problem:
            return self._refusing(f"schema.incompatible: id {schema_id}: {problem}")

    def _refusing(self, reason: str) -> Decodes:
        return _Refusing(self._dataset.columns, reason)


class _Refusing:
    """Has one reason for all payloads."""

    def __init__(self, columns: tuple[Column, ...], reason: str) -> None:
        self._schema = polars_schema(columns)
        self._reason = reason

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        rows = len(payloads)
        nothing = (pl.repeat(None, rows, dtype=kind).alias(name) for name, kind in self._schema.items())
        rescued = pl.repeat(None, rows, dtype=pl.String).alias(RESCUED)
        return pl.select(*nothing, rescued, pl.repeat(self._reason, rows, dtype=pl.String).alias(ERROR))


def _schema_ids(payloads: pl.Series) -> pl.Series:
    """The schema id of each payload, null where it does not begin as the wire format does."""
    ids = payloads.bin.slice(1, _HEADER - 1).bin.reinterpret(dtype=pl.UInt32, endianness="big")
    return ids.set(~payloads.bin.starts_with(_MAGIC), None)
