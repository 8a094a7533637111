"""The breaker of each region: whether so many of its rows are bad that none of them is to be published."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import REGION_COLUMN
from dagster_project.contract.quality import Breaker
from dagster_project.lake.keys import Key
from dagster_project.refine.cursors import cursor_keys, cursor_name
from dagster_project.refine.late import only_late


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Rows that were judged, and those of them that broke a rule."""

    rows: int = 0
    bad: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(rows=self.rows + other.rows, bad=self.bad + other.bad)

    def trips(self, breaker: Breaker) -> bool:
        return self.is_enough(breaker) and self.is_bad(breaker)

    def is_bad(self, breaker: Breaker) -> bool:
        return self.bad > breaker.bad_rate * self.rows

    def is_enough(self, breaker: Breaker) -> bool:
        return self.rows >= breaker.min_rows

    def __str__(self) -> str:
        return f"{self.bad:,} of {self.rows:,} rows broke a row rule ({self.bad / max(self.rows, 1):.1%})"


def tallies(
    good: pl.DataFrame, bad: pl.DataFrame, *, judged: Mapping[Key, int], windows: Mapping[Key, Tally]
) -> dict[Key, Tally]:
    """By region, rows by verdict, but for those up to a batch that was judged before; deletes and what is only late are in none.

    Args:
        windows: that have begun; good rows are counted only where there are any, or bad rows.
    """
    counts: dict[Key, Tally] = {}
    bad = bad.filter(~only_late(bad))
    if bad.is_empty() and not windows:
        return counts
    for frame, is_bad in ((good, False), (bad, True)):
        # The columns first: a filter copies all that it is given.
        rows = frame.select(REGION_COLUMN, "_batch_id", "_deleted").filter(~pl.col("_deleted"))
        batches = rows.group_by(REGION_COLUMN, "_batch_id").len()
        for region, batch, count in batches.iter_rows():
            scope = Key(None, region)
            if batch > judged.get(scope, -1):
                counts[scope] = counts.get(scope, Tally()) + Tally(rows=count, bad=count if is_bad else 0)
    return counts


def windows(cursors: Mapping[str, int]) -> dict[Key, Tally]:
    """By region, what was counted since the last verdict, and was too little for one."""
    rows, bad = cursor_keys(cursors, "window_rows"), cursor_keys(cursors, "window_bad")
    return {scope: Tally(rows=count, bad=bad[scope]) for scope, count in rows.items() if count}


def window_cursors(
    before: Mapping[Key, Tally], counted: Mapping[Key, Tally], breaker: Breaker, *, ended: Collection[Key]
) -> dict[str, int]:
    """Cursors of the windows once these rows are published. A window begins with a bad row: good streams have none.

    Args:
        ended: regions whose breaker has opened.
    """
    moved: dict[str, int] = {}
    for scope in counted.keys() | before.keys():
        known = before.get(scope, Tally())
        window = known + counted.get(scope, Tally())
        if scope in ended or window.is_enough(breaker) or not window.bad:
            window = Tally()
        if window != known:
            moved[cursor_name("window_rows", scope)] = window.rows
            moved[cursor_name("window_bad", scope)] = window.bad
    return moved
