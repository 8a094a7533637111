"""The arithmetic of error budgets: counts in, shares out. No clock and no table.

Whoever computes the same from the rows of `ops.measurements` must find the same, so each number is one plain formula.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

# How often everything is measured: fifteen moments in the shortest window, so that one bad moment is no alarm.
INTERVAL_S = 20.0
# A tick that comes late on a busy machine is no gap; three in a row that are missing are.
GAP_S = 3 * INTERVAL_S
WINDOWS: Mapping[str, dt.timedelta] = {
    "5m": dt.timedelta(minutes=5),
    "30m": dt.timedelta(minutes=30),
    "1h": dt.timedelta(hours=1),
    "6h": dt.timedelta(hours=6),
    "3d": dt.timedelta(days=3),
}
# A budget burns too fast if both a long and a short window are above the factor: the long one for the matter to be worth a
# person's time, the short one for it to be over soon after it ends. The pairs are those of the Site Reliability Workbook,
# chapter 5: of a budget for 28 days an hour at 14.4 takes 2 %, six hours at 6 take 5 %, three days at 1 a tenth.
BURNING: Sequence[tuple[str, str, float]] = (("1h", "5m", 14.4), ("6h", "30m", 6.0), ("3d", "6h", 1.0))


@dataclass(frozen=True, kw_only=True)
class Count:
    """How many events or moments kept to a bound, and how many did not; `unmeasured` are those of the bad ones that nobody saw."""

    good: int = 0
    bad: int = 0
    unmeasured: int = 0

    @property
    def total(self) -> int:
        return self.good + self.bad


def attained(count: Count) -> float | None:
    """The share that was good; `None` while nothing was counted."""
    return count.good / count.total if count.total else None


def budget_left(count: Count, target: float) -> float:
    """The share of the error budget that is left: 1 if nothing was bad, 0 if all that may be was, below that if more was."""
    return 1 - burn(count, target)


def burn(count: Count, target: float) -> float:
    """How fast a budget is spent: at 1 it would last exactly as long as it is reckoned over; 0 while nothing was counted."""
    return count.bad / count.total / (1 - target) if count.total else 0.0


def is_burning(rates: Mapping[str, float], *, measured: dt.timedelta) -> bool:
    """Whether both windows of a pair burn faster than its factor.

    Args:
        measured: for how long there have been measurements. Until that is a pair's whole short window the pair says nothing:
            of what has just begun, a few bad moments are all there were.
    """
    return any(
        measured >= WINDOWS[short] and rates[long] > factor and rates[short] > factor for long, short, factor in BURNING
    )


def gaps(ticks: Iterable[dt.datetime], now: dt.datetime) -> list[tuple[dt.datetime, dt.datetime]]:
    """Pairs of neighbouring moments, in ascending order, between which nobody measured; the last one may reach to now."""
    return [(left, right) for left, right in pairwise([*ticks, now]) if (right - left).total_seconds() > GAP_S]


def unmeasured(
    holes: Iterable[tuple[dt.datetime, dt.datetime]], *, after: dt.datetime, first: dt.datetime, until: dt.datetime
) -> int:
    """Moments of a window that nobody measured.

    In a gap from `left` to `right` they are `left + INTERVAL_S`, `left + 2 · INTERVAL_S` and so on, before `right`; of the
    window those after its beginning, up to its end, and none before the objective was first measured.

    Args:
        after: beginning of the window, which is not in it; `until` is its end, which is.
    """
    step = dt.timedelta(seconds=INTERVAL_S)
    count = 0
    for left, right in holes:
        begin, end = max(left, after, first), min(right, until + _TICK)
        count += max(0, _before(end - left, step) - _before(begin + _TICK - left, step))
    return count


_TICK = dt.timedelta(microseconds=1)  # the resolution of the table's times


def _before(span: dt.timedelta, step: dt.timedelta) -> int:
    """How many whole steps, from the first on, end before a span does."""
    return max(0, -(-span // step) - 1)
