"""The messages that were asked for, as the tables have them, with what they were sent again as, or from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.specs import ERROR
from dagster_project.outbox.headers import replays
from dagster_project.refine.protect import pseudonymised
from dagster_project.tracing.question import AtPlace, Question, WithId, WithKey
from dagster_project.tracing.tables import PLACE, Layer, Row, Tables, at

# Messages that one journey tells of; a correlation id may be that of a whole day.
MOST = 20


def messages(tables: Tables, question: Question) -> tuple[list[Row], int]:
    """Rows by the time at which they were sent, without their payloads; and how many there are beyond these.

    From Bronze; what has expired there, from Silver or quarantine, without what only Bronze has.
    """
    # Looked through once: a key column of ten million rows takes most of a second.
    keyed = (
        tables.silver.find(_of_asked(tables, question), tables.silver.files) if isinstance(question, WithKey) else None
    )
    found = _in_bronze(tables, question, keyed)
    rows = _rows(tables, found)
    if not isinstance(question, WithId):  # as they share it
        found = pl.concat([found, *(_family(tables, row) for row in rows)]).unique(PLACE)
        rows = _rows(tables, found)
    if isinstance(question, WithKey) or not rows:
        rows += _elsewhere(tables, question, rows, keyed)
    return sorted(rows, key=lambda row: (row["_kafka_timestamp"], row[PLACE[1]])), max(0, len(found) - MOST)


def headers(row: Row) -> list[tuple[str, bytes | None]]:
    """Headers of a message as its producer sent them."""
    return [(header["key"], header["value"]) for header in row.get("_headers") or ()]


def origin_of(row: Row, topic: str) -> str:
    """Where a message was first: its own place, unless it was sent again from another one."""
    return replays(headers(row))[0] or _name(row, topic)


def published_key(dataset: Dataset, values: Row) -> dict[str, Any]:
    """A merge key as Silver has it, with pseudonyms where the contract wants them.

    Args:
        values: of Bronze, by column; or of Silver, if they have no `_kind`.
    """
    key = {name: values[name] for name in dataset.merge_key}
    if not dataset.protected or "_kind" not in values:
        return key
    schema = {name: specs.bronze(dataset).schema[name] for name in key}
    return pseudonymised(dataset, pl.DataFrame([key], schema=schema)).row(0, named=True)


def of_key(key: Mapping[str, Any]) -> pl.Expr:
    """Rows of Silver with a merge key."""
    return pl.all_horizontal(pl.col(name) == value for name, value in key.items())


def _in_bronze(tables: Tables, question: Question, keyed: pl.DataFrame | None) -> pl.DataFrame:
    match question:
        case AtPlace():
            return tables.bronze.find(at(question.partition, question.offset), tables.bronze.near(question.offset))
        case WithId():
            return tables.bronze.find(pl.col("_correlation_id") == question.correlation_id, tables.bronze.files)
        case WithKey():
            return _with_key(tables, question, keyed)


def _with_key(tables: Tables, question: WithKey, keyed: pl.DataFrame | None) -> pl.DataFrame:
    bronze = tables.bronze
    events = pl.all_horizontal(pl.col(name) == value for name, value in question.values.items())
    found = bronze.find(events, _files_of(tables, keyed))
    # Poison has no columns: the key of its message tells, which is mostly the same in all messages of a key.
    keys = {question.spelled, *(row["_key"] for row in _rows(tables, found) if row["_key"] is not None)}
    poison = (pl.col("_kind") == specs.POISON) & pl.col("_key").is_in(list(keys))
    return pl.concat([found, bronze.find(poison, _with_poison(bronze))]).unique(PLACE)


def _with_poison(bronze: Layer) -> pl.DataFrame:
    if bronze.table is None:
        return bronze.files
    return bronze.files.filter(pl.lit(specs.POISON).is_between(pl.col("min._kind"), pl.col("max._kind")))


def _files_of(tables: Tables, keyed: pl.DataFrame | None) -> pl.DataFrame:
    """Files of Bronze that may hold events and deletes of a key: where it stays in its table partition, Silver tells which."""
    files = tables.bronze.files
    if files.is_empty() or keyed is None or keyed.is_empty() or not tables.dataset.stable_partitions:
        return files
    homes = tables.silver.fetch(keyed, [*PLACE, *specs.KEYS]).select(specs.KEYS).iter_rows()
    keys = frame_of([*(Key(*home) for home in homes), Key(None, None)])
    # Of a key that is deleted, the mark alone is left, which is in no table partition.
    return files.join(keys, on=specs.KEYS, how="semi", nulls_equal=True) if len(keys.drop_nulls()) else files


def _family(tables: Tables, row: Row) -> pl.DataFrame:
    """What a message was sent again as, or what it is sent again from: they share the correlation id, as may many others."""
    bronze, topic = tables.bronze, tables.dataset.topic.name
    origin = origin_of(row, topic)
    first = re.fullmatch(rf"{re.escape(topic)}/{row[PLACE[0]]}/(\d{{1,18}})", origin)
    if first is None or (row["_kind"] != specs.POISON and origin == _name(row, topic)):
        return _nowhere(bronze)
    # A copy comes after its original, in the same Kafka partition.
    later = bronze.files.filter(pl.col("max._kafka_offset") >= int(first[1]))
    same = (pl.col("_correlation_id") == row["_correlation_id"]) & (pl.col(PLACE[0]) == row[PLACE[0]])
    found = bronze.find(same, later)
    own = [other for other in _rows(tables, found) if origin_of(other, topic) == origin]
    return found.join(_places(own), on=PLACE, how="semi")


def _elsewhere(tables: Tables, question: Question, known: list[Row], keyed: pl.DataFrame | None) -> list[Row]:
    """Rows that Bronze has no longer."""
    rows: list[Row] = []
    for layer in (tables.silver, tables.quarantine):
        found = keyed if layer is tables.silver else None
        if found is None:
            near = layer.near(question.offset) if isinstance(question, AtPlace) else layer.files
            found = layer.find(_predicate(question), near)
        found = found.join(_places([*known, *rows]), on=PLACE, how="anti").head(MOST)
        if not found.is_empty():
            own = tables.dataset.merge_key if layer is tables.silver else ("_key",)
            columns = dict.fromkeys((*specs.COORDINATES, *own, *specs.KEYS))
            rows += layer.fetch(found, list(columns)).to_dicts()
    return rows


def _predicate(question: Question) -> pl.Expr:
    match question:
        case AtPlace():
            return at(question.partition, question.offset)
        case WithId():
            return pl.col("_correlation_id") == question.correlation_id
        case WithKey():
            return pl.col("_key") == question.spelled


def _of_asked(tables: Tables, question: WithKey) -> pl.Expr:
    return of_key(published_key(tables.dataset, {**question.values, "_kind": None}))


def _rows(tables: Tables, found: pl.DataFrame) -> list[Row]:
    if found.is_empty():
        return []
    chosen = found.sort("_kafka_timestamp", *PLACE).head(MOST)
    columns = dict.fromkeys(
        (*specs.COORDINATES, "_ingested_at", "_kind", ERROR, "_key", "_headers", *tables.dataset.routing, *specs.KEYS)
    )
    return [*tables.bronze.fetch(chosen, list(columns)).sort("_kafka_timestamp", *PLACE).iter_rows(named=True)]


def _name(row: Row, topic: str) -> str:
    return f"{topic}/{row[PLACE[0]]}/{row[PLACE[1]]}"


def _nowhere(layer: Layer) -> pl.DataFrame:
    return layer.find(pl.lit(value=False), layer.files.clear())


def _places(rows: Iterable[Row]) -> pl.DataFrame:
    places = [tuple(row[name] for name in PLACE) for row in rows]
    return pl.DataFrame(places, schema={name: specs.COORDINATES[name] for name in PLACE}, orient="row")
