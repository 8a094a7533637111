"""Quality rules that are about a table partition as a whole, and the breaker: small frozen values."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "error"]
Kind = Literal["volume", "nullDrift", "references"]
# What is measured: each table partition by itself, or all that a run publishes at once.
Scope = Literal["partition", "batch"]
Metric = Literal["rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues", "sql"]
Value = str | int | float | bool | None

# The standard's operators, in words, and whether a number keeps to their one bound or two.
_ONE: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "mustBe": ("exactly", lambda found, bound: found == bound),
    "mustNotBe": ("not", lambda found, bound: found != bound),
    "mustBeGreaterThan": ("more than", lambda found, bound: found > bound),
    "mustBeGreaterOrEqualTo": ("at least", lambda found, bound: found >= bound),
    "mustBeLessThan": ("less than", lambda found, bound: found < bound),
    "mustBeLessOrEqualTo": ("at most", lambda found, bound: found <= bound),
}
_TWO = {"mustBeBetween": "between", "mustNotBeBetween": "not between"}
OPERATORS = (*_ONE, *_TWO)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a measure must be: an operator of the standard, with one number, or two for those of a range."""

    operator: str
    values: tuple[float, ...]

    def holds(self, found: float) -> bool:
        if self.operator in _ONE:
            return _ONE[self.operator][1](found, self.values[0])
        inside = self.values[0] <= found <= self.values[1]
        return inside == (self.operator == "mustBeBetween")

    def __str__(self) -> str:
        words = _ONE[self.operator][0] if self.operator in _ONE else _TWO[self.operator]
        return f"{words} {' and '.join(f'{value:g}' for value in self.values)}"


@dataclass(frozen=True, kw_only=True)
class TableRule:
    """A measure of a table partition as it would be published, and what it must be.

    Attributes:
        columns: that the metric looks at; none for `rowCount` and `sql`.
        values: of `missingValues`, what counts as missing; of `invalidValues`, what is valid, any if empty.
        pattern: of `invalidValues`, what valid text matches.
        query: of `sql`, a query over `staged` that yields one number.
        percent: the measure is a share of the rows, in percent.
        scope: `batch` in marts only.
    """

    id: str
    metric: Metric
    bound: Bound
    columns: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    pattern: str | None = None
    query: str = ""
    percent: bool = False
    scope: Scope = "partition"
    severity: Severity = "error"


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A comparison of a table partition, as it would be published, with what is usual, or with another dataset.

    Attributes:
        kind: `volume`, its rows ÷ the median of the same weekdays before; `nullDrift`, how far its share of
            nulls is from that of the days before; `references`, its share of values that the other dataset does not have.
        column: of the last two.
        at_least, at_most: bounds of that; a volume is held against `at_least` once its day is over.
        back: weeks, or days, that are looked back at.
        dataset, key: where the values must be, and in which column there.
    """

    id: str
    kind: Kind
    column: str = ""
    at_least: float | None = None
    at_most: float | None = None
    back: int = 0
    dataset: str = ""
    key: str = ""
    severity: Severity = "error"


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """When a region's rows are no longer published, and how it is found out whether they may be again.

    Attributes:
        bad_rate: share of rows that break a row rule above which it opens.
        min_rows: rows that a verdict needs, gathered over several batches where they are small.
        probe: how long after each verdict waiting rows are judged anew.
    """

    bad_rate: float = 0.2
    min_rows: int = 100
    probe: dt.timedelta = dt.timedelta(minutes=5)
