"""Table partitions as people and Dagster name them, and the rectangles that cover many of them."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN


class Key(NamedTuple):
    """A table partition. Both `None`: rows without a place, poison and tombstones.

    A mart without regions has `region` `None` and a date.
    """

    date: dt.date | None
    region: str | None

    def __str__(self) -> str:
        return "/".join(str(part) for part in self if part is not None) or "none"


@dataclass(frozen=True, kw_only=True)
class Rectangle:
    """The cross product of a range of dates and some neighbouring regions, both ends included."""

    first: dt.date
    last: dt.date
    regions: tuple[str, ...]

    def __str__(self) -> str:
        days = str(self.first) if self.first == self.last else f"{self.first}..{self.last}"
        return " ".join(filter(None, [days, ",".join(self.regions)]))

    def keys(self) -> Iterator[Key]:
        for day in range((self.last - self.first).days + 1):
            for region in self.regions:
                yield Key(self.first + dt.timedelta(days=day), region)


def rectangles(keys: Iterable[Key], *, regions: Sequence[str], most: int) -> list[Rectangle]:
    """Cover keys with few rectangles, oldest first, none with a key that was not asked for.

    Args:
        regions: all regions in declared order; a rectangle's regions are neighbours in it.
        most: keys in one rectangle at the most.
    """
    order = {region: index for index, region in enumerate(regions)}
    by_date: dict[dt.date, set[int]] = defaultdict(set)
    for key in keys:
        if key.date is not None and key.region is not None:
            by_date[key.date].add(order[key.region])
    open_: dict[tuple[int, int], Rectangle] = {}
    closed: list[Rectangle] = []
    for date in sorted(by_date):
        runs = set(_runs(sorted(by_date[date])))
        over = [run for run in open_ if run not in runs or (date - open_[run].last).days > 1]
        closed.extend(open_.pop(run) for run in over)
        for run in sorted(runs):
            names = tuple(regions[run[0] : run[1] + 1])
            known = open_.get(run)
            if known is not None and ((date - known.first).days + 1) * len(names) > most:
                closed.append(open_.pop(run))
                known = None
            open_[run] = Rectangle(first=known.first if known else date, last=date, regions=names)
    return sorted([*closed, *open_.values()], key=lambda rectangle: (rectangle.first, order[rectangle.regions[0]]))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Runs of successive numbers, as first and last."""
    start = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield start, previous
            start = number
        previous = number
    yield start, previous


def in_words(keys: Iterable[Key], *, regions: Sequence[str]) -> str:
    """Keys as people read them: `2026-01-01..2026-01-31 eu,us; 2026-02-03 apac`.

    Args:
        regions: in declared order; none of keys that have dates alone.
    """
    found = list(keys)
    if any(key.date is None for key in found):
        return "all"
    named = rectangles((Key(key.date, key.region or "") for key in found), regions=regions or ("",), most=len(found))
    return "; ".join(map(str, named)) or "nothing"


def keys_of(frame: pl.DataFrame) -> list[Key]:
    """The distinct keys of a frame with partition columns; a frame without regions gives keys without."""
    columns = [column for column in (DATE_COLUMN, REGION_COLUMN) if column in frame.columns]
    return [
        Key(row[0], row[1] if len(row) > 1 else None)
        for row in frame.select(columns).unique().sort(columns).iter_rows()
    ]


def frame_of(keys: Iterable[Key]) -> pl.DataFrame:
    """Keys as a frame with the partition columns, for joins."""
    rows = list(keys)
    return pl.DataFrame(
        {DATE_COLUMN: [key.date for key in rows], REGION_COLUMN: [key.region for key in rows]},
        schema={DATE_COLUMN: pl.Date, REGION_COLUMN: pl.String},
    )
