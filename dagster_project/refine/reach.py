"""Which table partitions of a mart read which of its inputs: from keys and cursors alone, no table is opened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Mart, MartInput
from dagster_project.lake.keys import Key, frame_of
from dagster_project.refine.cursors import cursor_keys

# The table partition of a table that has none.
WHOLE = Key(None, None)


def readers(mart: Mart, item: MartInput, key: Key) -> Iterator[Key]:
    """Table partitions of a mart that read a table partition of an input, which is partitioned itself."""
    if not mart.partitioned_by:
        yield WHOLE
    elif key.date is not None:
        regional = REGION_COLUMN in mart.partitioned_by
        regions = ((key.region,) if key.region else mart.regions) if regional else (None,)
        for days in range(-item.after_days, item.before_days + 1):
            yield from (Key(key.date + dt.timedelta(days=days), region) for region in regions)


def part_of(files: pl.DataFrame, item: MartInput, mart: Mart, keys: Sequence[Key]) -> pl.DataFrame:
    """Of an input's files those that table partitions of a mart read; all of an input that is read whole."""
    on = [name for name in mart.partitioned_by if name in files.columns]
    if not on:
        return files
    wanted = frame_of(keys).with_columns(
        pl.concat_list(
            pl.col(DATE_COLUMN).dt.offset_by(f"{days}d") for days in range(-item.before_days, item.after_days + 1)
        )
    )
    return files.join(wanted.explode(DATE_COLUMN).select(on).unique(), on=on, how="semi")


def changes(cursors: Mapping[str, int]) -> dict[Key, int]:
    """By table partition of Silver or Gold, the newest version that changed something in it.

    What was published before versions were marked counts as changed by the first.
    """
    return {**dict.fromkeys(computed(cursors), 0), **cursor_keys(cursors, "changed")}


def computed(cursors: Mapping[str, int]) -> set[Key]:
    """Table partitions of a mart that were computed; of Silver none."""
    sources = {"/".join(name.split("/")[:2]) for name in cursors if name.startswith(("silver/", "gold/"))}
    return {key for source in sources for key, version in cursor_keys(cursors, source).items() if version >= 0}


def newest(mart: Mart, item: MartInput, cursors: Mapping[str, int]) -> dict[Key, int]:
    """By table partition of a mart, the newest version of an input, which is partitioned, that changed what it reads."""
    found: dict[Key, int] = {}
    for key, version in changes(cursors).items():
        for own in readers(mart, item, key):
            found[own] = max(version, found.get(own, -1))
    return found


def newest_as_of(marks: Mapping[Key, int], until: Mapping[Key, dt.date | None]) -> dict[Key, int]:
    """By table partition of a mart, the newest version of a dimension that changed what it reads.

    Args:
        marks: of the dimension; one with a date changed nothing that holds before it.
        until: by table partition of the mart, the last day that it looks rows up for; `None`: any.
    """
    found: dict[Key, int] = {}
    for key, last in until.items():
        seen = [version for mark, version in marks.items() if last is None or mark.date is None or mark.date <= last]
        found[key] = max(seen, default=-1)
    return found


def latest_days(mart: Mart, item: MartInput, days: Iterable[tuple[Key, dt.date]]) -> dict[Key, dt.date]:
    """By table partition of a mart, the last day of an event that it reads of an input.

    Args:
        days: by table partition of the input, the day of its newest event, which may be after its own.
    """
    found: dict[Key, dt.date] = {}
    for key, day in days:
        for own in readers(mart, item, key):
            found[own] = max(day, found.get(own, day))
    return found
