"""How large each part of the benchmark is: as `make bench` runs it, and as `make bench BENCH=quick` does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Numbers of events, unless said otherwise.

    Attributes:
        events, rounds: of the systems side by side, and how often each drains them.
        caps: the most for systems that would take too long; they are compared by what an event costs.
        small, large: backlogs that are compared.
        history, touches: what an incremental run finds there, and how many changes are followed by a run.
        seconds, rate_share: how long the steady stream is, and its rate beside that of a drain.
        contracts, ticks: how many topics the sensor looks at, and how often.
        commits, table_partitions: how old the old table is.
    """

    events: int
    rounds: int
    caps: Mapping[str, int]
    small: int
    large: int
    history: int
    touches: int
    seconds: int
    rate_share: float
    contracts: int
    ticks: int
    commits: int
    table_partitions: int


FULL = Sizes(
    events=2_000_000,
    rounds=3,
    caps={"spark": 2_000_000, "handwritten": 500_000, "dlt": 500_000},
    small=1_000_000,
    large=20_000_000,
    history=3_000_000,
    touches=3,
    seconds=90,
    rate_share=0.5,
    contracts=100,
    ticks=7,
    commits=5_000,
    table_partitions=10_000,
)
QUICK = Sizes(
    events=200_000,
    rounds=1,
    caps={"spark": 50_000, "handwritten": 50_000, "dlt": 50_000},
    small=100_000,
    large=300_000,
    history=150_000,
    touches=1,
    seconds=10,
    rate_share=0.5,
    contracts=100,
    ticks=3,
    commits=300,
    table_partitions=600,
)
