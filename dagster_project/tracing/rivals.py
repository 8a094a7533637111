"""The versions of a key that go before one of them: which of them took its place first, or had it already."""

from __future__ import annotations

import datetime as dt

import polars as pl

from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.log import Commit
from dagster_project.lake.specs import RELEASE
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.quarantine import RELEASED
from dagster_project.tracing.tables import PLACE, Row, Tables, at, key_of

# Versions that are looked up in Silver's log, the earliest batches first: a later batch of the same table partition is never
# merged before an earlier one.
_LOOKED_UP = 20


def rivals(tables: Tables, row: Row, winner: Row | None) -> list[tuple[Commit, Row]]:
    """By the order in which Silver has merged them, with the commits that did, the versions that go before a row.

    Args:
        row: of Bronze; of what has expired there only the winner is known.
        winner: the row that Silver has of the key.
    """
    dataset = tables.dataset
    known = [] if winner is None else [winner]
    if "_kind" in row:
        known += _of_same_key(tables, row)
    others = {tuple(other[name] for name in PLACE): other for other in known}
    match dataset.write_mode:
        case "upsert":
            own = [other for other in others.values() if _age(tables, other) > _age(tables, row)]
        case "history":  # of which every version stays
            own = [other for other in others.values() if other[dataset.event_time] == row.get(dataset.event_time)]
        case "append":
            own = [*others.values()]
    chosen = sorted(own, key=lambda other: other["_batch_id"])[:_LOOKED_UP]
    found = [(commit, other) for other in chosen if (commit := merged_by(tables, other)) is not None]
    return sorted(found, key=lambda pair: pair[0].version)


def merged_by(tables: Tables, row: Row) -> Commit | None:
    """The commit with which Silver has read a row: with its batch, or by a release; `None` where none has, or none is told of."""
    here = tables.quarantine.find(at(*(row[name] for name in PLACE)), tables.quarantine.near(row[PLACE[1]]))
    name, value = cursor_name("bronze", key_of(row)), row["_batch_id"]
    if not here.is_empty():
        release = tables.quarantine.fetch(here, [*PLACE, RELEASE])[RELEASE].item()
        if release is None:
            return None
        name, value = RELEASED, release
    found = tables.silver.history.arrival(name, value)
    return None if found is None else found.commit


def _of_same_key(tables: Tables, row: Row) -> list[Row]:
    dataset, bronze = tables.dataset, tables.bronze
    files, home = bronze.files, key_of(row)
    if dataset.stable_partitions and home.date is not None:
        files = files.join(frame_of([home, Key(None, None)]), on=specs.KEYS, how="semi", nulls_equal=True)
    own = at(*(row[name] for name in PLACE))
    found = bronze.find(pl.all_horizontal(pl.col(name) == row[name] for name in dataset.merge_key) & ~own, files)
    if found.is_empty():
        return []
    columns = dict.fromkeys((*specs.COORDINATES, dataset.event_time, *specs.KEYS))
    return [*bronze.fetch(found, list(columns)).iter_rows(named=True)]


def _age(tables: Tables, row: Row) -> tuple[dt.datetime, int, int]:
    """As a merge orders versions."""
    return row[tables.dataset.event_time] or row["_kafka_timestamp"], row[PLACE[1]], row[PLACE[0]]
