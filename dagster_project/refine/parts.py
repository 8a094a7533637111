"""The rows of a mart by table partition: what is published, and where it differs from what was computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from dagster_project.contract.model import Mart
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.table import Table
from dagster_project.refine.reach import WHOLE


def published(gold: Table, keys: Sequence[Key]) -> pl.DataFrame:
    """What a mart has of some table partitions, in the columns of its contract and the order of the key."""
    rows = gold.rows(files_of(gold, keys)).select(gold.spec.schema.keys())
    return rows.collect(engine="in-memory")


def differing(mart: Mart, keys: Iterable[Key], before: pl.DataFrame, after: pl.DataFrame) -> list[Key]:
    """Table partitions whose rows are other ones."""
    old, new = parts(mart, before.sort(mart.merge_key)), parts(mart, after)
    return [key for key in keys if not old.get(key, after.clear()).equals(new.get(key, after.clear()))]


def files_of(gold: Table, keys: Sequence[Key]) -> pl.DataFrame:
    """Files of table partitions of a mart; all of one that has none."""
    on = list(gold.spec.partition_by)
    if not on:
        return gold.files() if keys else gold.files().clear()
    return gold.files().join(frame_of(keys).select(on), on=on, how="semi")


def parts(mart: Mart, rows: pl.DataFrame) -> dict[Key, pl.DataFrame]:
    """Rows by table partition."""
    if not mart.partitioned_by:
        return {} if rows.is_empty() else {WHOLE: rows}
    parts = rows.partition_by(mart.partitioned_by, as_dict=True, maintain_order=True)
    return {Key(place[0], place[1] if len(place) > 1 else None): own for place, own in parts.items()}


def rows_of(mart: Mart, rows: pl.DataFrame, keys: Sequence[Key]) -> pl.DataFrame:
    """Of rows those of some table partitions."""
    on = list(mart.partitioned_by)
    if not on:
        return rows if keys else rows.clear()
    return rows.join(frame_of(keys).select(on), on=on, how="semi", maintain_order="left")
