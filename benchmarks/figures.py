"""The figures of the benchmark: what each says, and the bound that it is held to."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

from dagster_project.errors import LakehouseError


class VerdictError(LakehouseError):
    """What a system wrote is not what it had to write, so nothing is said of its speed."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A bound, and what the figure is."""

    kind: Literal["≥", "≤"]
    bound: float
    says: str

    def holds(self, value: float) -> bool:
        return value >= self.bound if self.kind == "≥" else value <= self.bound


GATES: Mapping[str, Gate] = {
    "ratio_to_floor": Gate(kind="≥", bound=0.30, says="CPU for an event: the floor's ÷ ours"),
    "wall_ratio_to_floor": Gate(kind="≥", bound=0.20, says="events a second: ours ÷ the floor's"),
    "core_ratio_to_spark": Gate(kind="≥", bound=3, says="events for a core-second: ours ÷ Spark's"),
    "core_ratio_to_dlt": Gate(kind="≥", bound=10, says="events for a core-second: ours ÷ dlt's"),
    "core_ratio_to_handwritten": Gate(
        kind="≥", bound=8, says="events for a core-second: ours ÷ the hand-written loop's"
    ),
    "growth": Gate(kind="≤", bound=1.15, says="CPU for an event: the large backlog ÷ the small one"),
    "peak_rss_gib": Gate(kind="≤", bound=1.5, says="GiB of memory at the most, draining the large backlog"),
    "incremental_share": Gate(
        kind="≤", bound=0.05, says="CPU after a change of one table partition in 150 ÷ of all anew"
    ),
    "latency_p99_s": Gate(
        kind="≤", bound=30, says="seconds from Kafka to Gold, 99 of 100 events, at half the drain rate"
    ),
    "tick_s": Gate(kind="≤", bound=1, says="seconds of one look at the lag of 100 topics"),
    "commit_growth": Gate(kind="≤", bound=1.5, says="time of a commit: of an old table ÷ of a young one"),
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a part of the benchmark has found.

    Attributes:
        figures: medians, by the names of `GATES`.
        spread: the least and the greatest of what a median was taken of.
        details: whatever else helps to understand the figures.
    """

    figures: Mapping[str, float] = field(default_factory=dict)
    spread: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Mapping[str, Sequence[float]], details: Mapping[str, Any]) -> Outcome:
        return cls(
            figures={name: rounded(median(values)) for name, values in samples.items()},
            spread={name: (rounded(min(values)), rounded(max(values))) for name, values in samples.items()},
            details=details,
        )


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")


def now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
