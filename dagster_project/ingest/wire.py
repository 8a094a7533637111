"""Messages in Confluent's wire format: a zero byte, the id of their schema as four bytes, and the value itself.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
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
# A topic has a handful of schemas; ids by the thousand are made up, and each is a request that its batch waits for. So what a
# registry does not know is asked for again after so many seconds only; and while it has not known so many ids within them, a
# batch may ask for few others.
_AGAIN_S, _MOST_UNKNOWN, _FEW = 10.0, 100, 10
_FLOOD = "schema.flood: one of more unheard-of ids than the registry is asked for at a time"
# Of a schema's text. That of a thousand columns has some hundred thousand bytes.
_MOST_TEXT = 4 << 20


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
        return Decoder(dataset.columns, largest=dataset.topic.largest_bytes)
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

    A schema is asked for once: what an id means never changes. An id that nobody knows is asked for again after a while.
    """

    def __init__(self, dataset: Dataset, schemas: Schemas, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._dataset = dataset
        self._schemas = schemas
        self._clock = clock
        self._known: dict[int, Decodes] = {}
        self._unknown: dict[int, float] = {}  # and when the registry said so
        self._json = Decoder(dataset.columns, largest=dataset.topic.largest_bytes)

    def decode(self, payloads: pl.Series) -> pl.DataFrame:
        """As of `Decodes`.

        Raises:
            RegistryError: the registry does not say what a schema is.
        """
        since = self._clock() - _AGAIN_S
        self._unknown = {schema_id: asked for schema_id, asked in self._unknown.items() if asked > since}
        ids = _schema_ids(payloads)
        bodies = payloads.bin.slice(_HEADER)
        found = ids.unique(maintain_order=True).to_list()
        if len(found) == 1:
            return self._decoder(found[0]).decode(bodies)
        parts: list[pl.DataFrame] = []

        def take(rows: pl.Series, decoder: Decodes) -> None:
            parts.append(decoder.decode(bodies.filter(rows)).with_columns(rows.arg_true().alias("_order")))

        if len(found) > _FEW:
            found = [None, *self._heard(ids)]
            take(ids.is_not_null() & ~ids.is_in(found[1:]), self._refusing(_FLOOD))
        for schema_id in found:
            take(ids.eq_missing(schema_id), self._decoder(schema_id))
        if not parts:
            return self._json.decode(bodies)
        return pl.concat(parts).sort("_order").drop("_order")

    def _heard(self, ids: pl.Series) -> list[int]:
        """Of many ids those that the registry was asked for, and of the others the most frequent, to be asked for now."""
        often = ids.drop_nulls().value_counts(sort=True).to_series().to_list()
        heard = [schema_id for schema_id in often if schema_id in self._known or schema_id in self._unknown]
        done = {*heard}
        new = [schema_id for schema_id in often if schema_id <= _MOST_ID and schema_id not in done]
        return heard + new[: max(_FEW, _MOST_UNKNOWN - len(self._unknown))]

    def _decoder(self, schema_id: int | None) -> Decodes:
        if schema_id is None:
            return self._refusing("payload.wire: no zero byte and schema id before the value")
        if schema_id in self._known:
            return self._known[schema_id]
        asked = schema_id <= _MOST_ID and schema_id not in self._unknown
        if asked and (schema := self._schemas.schema(schema_id)) is not None:
            self._known[schema_id] = self._reading(schema_id, schema)
            return self._known[schema_id]
        if asked:
            self._unknown[schema_id] = self._clock()
        return self._refusing(f"schema.unknown: id {schema_id} is not in the registry")

    def _reading(self, schema_id: int, schema: WriterSchema) -> Decodes:
        wanted = self._dataset.topic.format
        if len(schema.text) > _MOST_TEXT:
            return self._refusing(f"schema.incompatible: id {schema_id}: more than {_MOST_TEXT} characters")
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
            return AvroDecoder(schema.text, self._dataset.columns, largest=self._dataset.topic.largest_bytes)
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
