"""What `lakehouse slo` must say, in pandas, from the rows of `ops/measurements` and nothing of the platform's."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportCallIssue=false, reportReturnType=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportOperatorIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

WINDOWS = {"5m": "5min", "30m": "30min", "1h": "1h", "6h": "6h", "3d": "3D"}
# A moment is due so long after the one before; three that are missing in a row are bad ones.
EVERY, HOLE = pd.Timedelta(seconds=20), pd.Timedelta(seconds=60)
# Pairs of windows, and how fast both must burn for it to be too fast.
TOO_FAST = (("1h", "5m", 14.4), ("6h", "30m", 6.0), ("3d", "6h", 1.0))
# Of a moment at which nobody measured only this can be said: that nobody saw it kept.
OF_SIGHT = {"availability"}
BUDGET = pd.Timedelta(days=28)


def differences(
    said: Sequence[Mapping[str, Any]], rows: pd.DataFrame, *, since: pd.Timestamp, until: pd.Timestamp
) -> Iterator[str]:
    """Where the command's figures are not those of the raw records.

    Args:
        said: the objectives of `lakehouse slo --json`.
        since, until: between which it looked at the clock. Figures change where a row enters a window or leaves it, so these
            are the moments that it may have seen.
    """
    ends = pd.DatetimeIndex(rows["at"].unique())
    edges = [end + pd.Timedelta(window) for window in ("0s", *WINDOWS.values()) for end in ends]
    nows = [since, *sorted(edge for edge in edges if since < edge <= until), until]
    for objective in said:
        wrong = [_wrong(objective, expected(rows, objective, now)) for now in nows]
        if all(wrong):
            yield f"{objective['dataset']}/{objective['region'] or '*'}/{objective['name']}: {wrong[-1]}"


def _wrong(objective: Mapping[str, Any], wanted: Mapping[str, float | int | bool]) -> str:
    found = {**objective, **objective["burn"]}
    return ", ".join(
        f"{name} is {found[name]}, and by the records {value}"
        for name, value in wanted.items()
        if not math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-9)
    )


def expected(rows: pd.DataFrame, objective: Mapping[str, Any], now: pd.Timestamp) -> dict[str, float | int | bool]:
    """Good, bad, burn by window, the budget that is left, and whether it burns too fast."""
    seen = rows[(rows["dataset"] == objective["dataset"]) & (rows["at"] <= now)]
    region, name = objective["region"], objective["name"]
    here = seen["region"].isna() if region is None else seen["region"] == region
    own = seen[here & (seen["objective"] == name)]
    age = now - own["at"].min()
    ticks = sorted(rows.loc[rows["at"] <= now, "at"].unique())

    def counted(window: pd.Timedelta) -> tuple[int, int]:
        inside = own[own["at"] > now - window]
        missed = _missed(ticks, own["at"].min(), now - window, now) if name in OF_SIGHT and len(own) else 0
        return int(inside["good"].sum()), int(inside["bad"].sum()) + missed

    def burn(window: pd.Timedelta) -> float:
        good, bad = counted(window)
        return bad / (good + bad) / (1 - objective["target"]) if good + bad else 0.0

    rates = {label: burn(pd.Timedelta(text)) for label, text in WINDOWS.items()}
    good, bad = counted(BUDGET)
    return {
        **rates,
        "good": good,
        "bad": bad,
        "budget_left": 1 - burn(BUDGET),
        "burning": any(
            rates[long] > factor and rates[short] > factor
            for long, short, factor in TOO_FAST
            if age >= pd.Timedelta(WINDOWS[short])
        ),
    }


def _missed(ticks: Sequence[Any], first: pd.Timestamp, after: pd.Timestamp, until: pd.Timestamp) -> int:
    """Moments of a window at which nobody measured, one by one."""
    count = 0
    for left, right in zip(ticks, [*ticks[1:], until], strict=True):
        if right - left <= HOLE:
            continue
        moment = left + EVERY
        while moment < right:
            count += after < moment <= until and moment >= first
            moment += EVERY
    return count
