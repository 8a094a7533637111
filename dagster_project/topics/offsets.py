"""Sets of offsets of a topic, as sorted runs: millions of offsets are a handful of numbers, and sets of them quick to compare."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import polars as pl

# An offset with its Kafka partition in one number; at a million events a second, 48 bits last for nine years.
_BITS = 48
MASK = (1 << _BITS) - 1
Places = np.ndarray[tuple[int], np.dtype[np.int64]]


def place() -> pl.Expr:
    """The columns `_kafka_partition, _kafka_offset` as one number that sorts like the two."""
    return (pl.col("_kafka_partition").cast(pl.Int64) * (1 << _BITS) + pl.col("_kafka_offset")).alias("_place")


def _none() -> Places:
    return np.empty(0, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Offsets:
    """A set of offsets: disjoint runs in order, both ends included, no run over two Kafka partitions."""

    first: Places = field(default_factory=_none)
    last: Places = field(default_factory=_none)

    @classmethod
    def of_places(cls, places: Places) -> Offsets:
        """From sorted places; one that comes twice counts once."""
        if not len(places):
            return cls()
        breaks = np.flatnonzero(np.diff(places) > 1)
        return cls(first=places[np.concatenate(([0], breaks + 1))], last=places[np.append(breaks, len(places) - 1)])

    @classmethod
    def of_rows(cls, rows: pl.DataFrame) -> Offsets:
        """From a column `_place`, in any order."""
        return cls.of_places(rows["_place"].sort().to_numpy())

    @classmethod
    def of_bounds(cls, start: Mapping[int, int], end: Mapping[int, int]) -> Offsets:
        """By Kafka partition of `end`, the offsets from `start` to before `end`."""
        bounds = sorted((p << _BITS | start[p], p << _BITS | end[p]) for p in end if start[p] < end[p])
        first, after = np.array(bounds, np.int64).reshape(-1, 2).T
        return cls(first=first, last=after - 1)

    @classmethod
    def of_runs(cls, rows: pl.DataFrame) -> Offsets:
        """From `_kafka_partition, first_offset, last_offset`, in any order; runs may overlap."""
        base = pl.col("_kafka_partition").cast(pl.Int64) * (1 << _BITS)
        runs = rows.select(first=base + pl.col("first_offset"), last=base + pl.col("last_offset")).sort("first")
        first, last = runs["first"].to_numpy(), np.maximum.accumulate(runs["last"].to_numpy())
        if not len(first):
            return cls()
        breaks = np.flatnonzero(first[1:] > last[:-1] + 1)
        return cls(first=first[np.concatenate(([0], breaks + 1))], last=last[np.append(breaks, len(last) - 1)])

    def __and__(self, other: Offsets) -> Offsets:
        low = np.searchsorted(other.last, self.first)
        counts = np.maximum(np.searchsorted(other.first, self.last, "right") - low, 0)
        mine = np.repeat(np.arange(len(self.first)), counts)
        theirs = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(low, counts)
        return Offsets(
            first=np.maximum(self.first[mine], other.first[theirs]),
            last=np.minimum(self.last[mine], other.last[theirs]),
        )

    def __sub__(self, other: Offsets) -> Offsets:
        ends = np.iinfo(np.int64)
        first, last = np.append(ends.min, other.last + 1), np.append(other.first - 1, ends.max)
        real = first <= last
        return self & Offsets(first=first[real], last=last[real])

    def __or__(self, other: Offsets) -> Offsets:
        return Offsets.of_runs(pl.concat([self.rows(), other.rows()]))

    @classmethod
    def union(cls, *sets: Offsets) -> Offsets:
        return reduce(operator.or_, sets, cls())

    def has(self, places: Places) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Of each place, whether it is in the set."""
        run = np.searchsorted(self.first, places, "right") - 1
        return (run >= 0) & (places <= self.last[run]) if len(self.first) else np.zeros(len(places), np.bool_)

    def __len__(self) -> int:
        return int((self.last - self.first + 1).sum())

    def __bool__(self) -> bool:
        return len(self.first) > 0

    def by_partition(self) -> dict[int, int]:
        """How many offsets of each Kafka partition."""
        rows = self.rows().group_by("_kafka_partition").agg((pl.col("last_offset") - pl.col("first_offset") + 1).sum())
        return dict(rows.iter_rows())

    def rows(self, **more: Any) -> pl.DataFrame:
        """`_kafka_partition, first_offset, last_offset`, one row a run, and more columns of one value each."""
        return pl.DataFrame(
            {
                "_kafka_partition": pl.Series(self.first >> _BITS, dtype=pl.Int64).cast(pl.Int32),
                "first_offset": pl.Series(self.first & MASK, dtype=pl.Int64),
                "last_offset": pl.Series(self.last & MASK, dtype=pl.Int64),
            }
        ).with_columns(**{name: pl.lit(value) for name, value in more.items()})

    def named(self, most: int) -> str:
        """The first runs, as people write them: `0/17, 1/3-9, …`."""
        runs = [
            f"{partition}/{first}" + (f"-{last}" if last > first else "")
            for partition, first, last in self.rows().head(most).iter_rows()
        ]
        return ", ".join([*runs, *(["…"] if len(self.first) > most else [])])
