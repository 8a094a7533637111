"""Values that a large share of the rows has: a summary of bounded size (Misra-Gries), merged batch by batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from dagster_project.contract.model import Dataset

# Values that a summary keeps. Of none it misses more than one in 101 rows, a tenth of the share that is worth a warning.
_KEPT = 100
_LONGEST = 128  # characters of a value, which is shown to people


@dataclass(frozen=True, kw_only=True)
class KeyCounts:
    """How often the most frequent values of a column were seen.

    Attributes:
        rows: that were counted.
        counts: by value, how often at least; a bounded number of values.
        missed: how many rows more it may be of any value, also of one that is not kept.
    """

    rows: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    missed: int = 0

    @classmethod
    def of(cls, values: pl.Series) -> KeyCounts:
        """Count one batch; nulls, as poison and deletes have them, are not counted."""
        values = values.drop_nulls().cast(pl.String).alias("value")
        most = values.value_counts(name="count").top_k(_KEPT + 1, by="count")
        counts = {value[:_LONGEST]: count for value, count in most.iter_rows()}
        return _bounded(rows=len(values), counts=counts, missed=0)

    def __add__(self, other: KeyCounts) -> KeyCounts:
        counts = Counter(self.counts)
        counts.update(other.counts)
        return _bounded(rows=self.rows + other.rows, counts=counts, missed=self.missed + other.missed)

    def shares(self, *, above: float) -> dict[str, float]:
        """Values with more than this share of the rows, the most frequent first; each has at least so much."""
        most = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return {value: count / self.rows for value, count in most if count > above * self.rows}


def _bounded(*, rows: int, counts: Mapping[str, int], missed: int) -> KeyCounts:
    if len(counts) <= _KEPT:
        return KeyCounts(rows=rows, counts=counts, missed=missed)
    # The count of the first value too many is taken from all: so many times a row of each was seen, all different.
    cut = sorted(counts.values(), reverse=True)[_KEPT]
    kept = {value: count - cut for value, count in counts.items() if count > cut}
    return KeyCounts(rows=rows, counts=kept, missed=missed + cut)


def count_keys(dataset: Dataset, rows: pl.DataFrame) -> KeyCounts:
    """Counts of the column that the contract calls uneven; of a contract that names none, nothing is counted."""
    return KeyCounts() if dataset.hot_keys is None else KeyCounts.of(rows[dataset.hot_keys.column])
