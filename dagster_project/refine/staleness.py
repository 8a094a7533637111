"""Which table partitions of a mart are older than what they are computed from: from committed cursors alone."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Catalog, Mart, MartInput
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_keys, cursor_name, judged
from dagster_project.refine.reach import WHOLE, changes, latest_days, newest, newest_as_of
from dagster_project.refine.windows import PREFIX as WATERMARK
from dagster_project.refine.windows import fingerprint, seen

# Before the name of the cursor that says which SQL a dimension was computed by.
SQL = "sql"


def pending_gold(
    mart: Mart, tables: Mapping[str, Table | None], *, catalog: Catalog, with_held: bool = False
) -> list[Key]:
    """Table partitions of a mart that are older than what they are computed from.

    Args:
        tables: `gold/<name>` of the mart and of those that it reads, `silver/<name>` of the versions that serve.
        with_held: also those that are held back, because what they read would break a rule.
    """
    gold = tables.get(f"gold/{mart.name}")
    cursors = {} if gold is None else gold.cursors()
    return stale(mart, tables, cursors if with_held else judged(cursors), catalog=catalog)


def stale(mart: Mart, tables: Mapping[str, Table | None], cursors: Mapping[str, int], *, catalog: Catalog) -> list[Key]:
    """As `pending_gold`, of a mart that has these cursors."""
    found = {item: table for item in mart.inputs if (table := tables.get(item.table)) is not None}
    whole = {item for item, table in found.items() if mart.partitioned_by and not table.spec.partition_by}
    changed = {item: newest(mart, item, table.cursors()) for item, table in found.items() if item not in whole}
    there = {key for own in changed.values() for key in own} if mart.partitioned_by else {WHOLE}
    marks = {item: changes(found[item].cursors()) for item in whole}
    until: dict[Key, dt.date | None] = dict.fromkeys(there)
    if any(mark.date is not None for own in marks.values() for mark in own):
        until = _last_days(mart, {item: table for item, table in found.items() if item not in whole}, there, catalog)
    changed |= {item: newest_as_of(own, until) for item, own in marks.items()}
    pending: set[Key] = set()
    for item, table in found.items():
        done = cursor_keys(cursors, source(table))
        pending.update(key for key, version in changed[item].items() if done.get(key, -1) < version)
        # What was computed from another major version, which does not serve any more, is computed anew.
        pending.update(key for keys in computed_elsewhere(cursors, item, table).values() for key in keys)
    if mart.window is not None:
        now = seen(mart, tables, catalog)
        pending.update(key for key in there if cursors.get(cursor_name(WATERMARK, key)) != fingerprint(mart, key, now))
    if not mart.partitioned_by and cursors.get(cursor_name(SQL, WHOLE)) != sql_fingerprint(mart):
        pending.add(WHOLE)
    return sorted(pending, key=str)


def source(table: Table) -> str:
    """Before the names of cursors that say which version of an input a table partition was computed from."""
    return f"{table.spec.layer}/{table.spec.name}"


def sql_fingerprint(mart: Mart) -> int:
    """A number, small enough for a cursor, that changes with the SQL of a mart and with its columns."""
    text = repr(
        (mart.sql, mart.validity, sorted((name, str(dtype)) for name, dtype in polars_schema(mart.columns).items()))
    )
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])


def _last_days(
    mart: Mart, dated: Mapping[MartInput, Table], keys: Iterable[Key], catalog: Catalog
) -> dict[Key, dt.date | None]:
    """By table partition, the last day of an event that may be looked up in a dimension, as of which it is read.

    An event's own day may be after that of its table partition, where the contract places it by another time.
    """
    found: dict[Key, dt.date | None] = {}
    beside = max((item.after_days for item in dated), default=0)
    for key in keys:
        assert key.date is not None
        found[key] = key.date + dt.timedelta(days=beside)
    for item, table in dated.items():
        if item.kind == "dataset":
            for key, day in latest_days(mart, item, _event_days(catalog.dataset(item.name).event_time, table)).items():
                last = found.get(key)
                found[key] = day if last is None else max(day, last)
    return {key: found[key] for key in keys}


def _event_days(event_time: str, silver: Table) -> Iterator[tuple[Key, dt.date]]:
    newest_event = pl.max(f"max.{event_time}").dt.date()
    files = silver.files().group_by(specs.KEYS).agg(newest_event.alias("day")).drop_nulls()
    for date, region, day in files.iter_rows():
        yield Key(date, region), day


def computed_elsewhere(cursors: Mapping[str, int], item: MartInput, table: Table) -> dict[str, set[Key]]:
    """By cursor prefix, a mart's table partitions that were computed from other major versions of a dataset."""
    if item.kind == "mart":
        return {}
    own = re.compile(rf"silver/{item.name}(_v\d+)?")
    prefixes = {"/".join(cursor.split("/")[:2]) for cursor in cursors if cursor.startswith("silver/")}
    return {
        prefix: {key for key, version in cursor_keys(cursors, prefix).items() if version >= 0}
        for prefix in prefixes - {source(table)}
        if own.fullmatch(prefix)
    }
