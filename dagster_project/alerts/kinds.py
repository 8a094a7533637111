"""Every kind of alert: how long its condition must hold, and what it means for those who use the data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of alert.

    Attributes:
        hold: how long its condition must last before it is raised.
        meaning: what it means for readers, in one or two sentences.
        aftermath: how long after its cause is over it may last; beyond that it is raised by itself.
    """

    hold: dt.timedelta
    meaning: str
    aftermath: dt.timedelta


# A backlog has five minutes by the usual SLO of lag, and the shortest window of a burn rate is five minutes more.
_AFTERMATH = dt.timedelta(minutes=10)


def _kind(seconds: int, meaning: str, aftermath: dt.timedelta = _AFTERMATH) -> Kind:
    return Kind(hold=dt.timedelta(seconds=seconds), meaning=meaning, aftermath=aftermath)


# An effect waits for as long as its causes at least, and for three ticks, so that the cause is seen before its effects are due
# (`causes.py`; a test holds it). The first step is longer than what mends itself: an election of a leader takes less than
# 10 s, a store's hiccup a retry or two.
KINDS: Mapping[str, Kind] = {
    "broker-down": _kind(
        15,
        "Nothing new is read from Kafka; what was read goes on to Silver and Gold. Producers may be stopped, too. "
        "No event is lost before the retention of its topic.",
    ),
    "store-down": _kind(
        15, "No table can be read or written: runs fail, readers see errors. Events wait in Kafka. Nothing is lost."
    ),
    "slow-store": _kind(40, "Runs and queries take several times as long; lag and latency grow."),
    "silent-region": _kind(
        40,
        "A region's events have stopped while others go on. Its figures stand still; windows over all regions go on.",
    ),
    "breaker-open": _kind(
        40, "The gate holds rows of a region back: Silver and Gold keep what they had of it. The rows wait in Bronze."
    ),
    "poison-rate": _kind(
        40, "Messages cannot be decoded and are missing in Silver and Gold. They wait as dead letters."
    ),
    "schema-drift": _kind(
        40, "Producers send fields that the contract does not know. They are kept as sent; no mart has them."
    ),
    "ledger-imbalance": _kind(
        40, "Books or offsets do not add up: a ledger publishes nothing new, or events have no proven place."
    ),
    # Half an hour of retention or more is left when it is due; a minute of it is well spent on being sure.
    "time-to-loss": _kind(60, "The broker is about to delete events that were never read, or has done so."),
    "stale-cache": _kind(
        40, "The cache has older figures than Gold, or does not answer; readers get Gold's, more slowly."
    ),
    # The next try comes at once after a first failure; what a killed process left is mended within the minute.
    "failed-run": _kind(65, "Work of a dataset is not done: its tables stay as they were until a run succeeds."),
    "lag": _kind(90, "Bronze is behind Kafka by more than the contract allows; all figures of the dataset are late."),
    "slo-burn": _kind(
        120,
        "The error budget goes faster than it may: at this rate the service level will be missed.",
        # A burn rate remembers: of its pairs of windows (`slo/budget.py`) the longer of the short ones that catch an hour or
        # six has half an hour.
        dt.timedelta(minutes=35),
    ),
}

# A condition that comes back within this was never gone: what flaps is one alert. Several ticks, and longer than the pause
# between two tries of a run that fails.
QUIET = dt.timedelta(seconds=60)
# Whoever takes over a shift of eight hours hears of each open alert once at least.
REPEAT = dt.timedelta(hours=4)
# Of an hour so much is what has the budget of a target of 99 % burn at 14.4, which is when a person is called.
AWAY = dt.timedelta(minutes=8)
# How long an alert that is over may still explain others.
LINGER = max(kind.aftermath for kind in KINDS.values())
