"""The workload: order events with all the trouble that streams have, and what must become of them.

Made by column and in chunks, so that twenty million events take a minute and little memory. What must become of them
comes from the plan itself: whoever makes an order knows its last version, and no code of any system is asked.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import polars as pl

from benchmarks.plan import Plan, share
from benchmarks.shop import REGIONS
from benchmarks.text import DAY_MS

# Events that are made at once: some 100 MB.
CHUNK = 100_000
# One event in ten is sent in a transaction; each has a thousand events, and one in twenty is aborted.
TRANSACTIONAL, TRANSACTION, ABORTED_EVERY = 0.10, 1_000, 20
_NOTHING = pl.DataFrame(schema={"key": pl.String, "value": pl.Binary, "arrival": pl.Float64})


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Messages (`key`, `value`) to be sent one after the other: plainly, or in one transaction that ends in one way."""

    kind: Literal["plain", "committed", "aborted"]
    messages: pl.DataFrame


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Messages to send next, and orders whose end is known by now, though some of their events follow later.

    Attributes:
        silver, counts: as of a `Plan`; `aborted` counts messages that must appear nowhere.
    """

    segments: tuple[Segment, ...]
    silver: pl.DataFrame
    counts: Counter[str]


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A topic's content. The same values give the same messages.

    Attributes:
        events: messages that a reader of committed ones sees; those of aborted transactions come on top.
        seed: workloads with another one hold other orders.
        first_day, days: on which the orders were placed; in the past of every clock, so that no event is of the future.
    """

    events: int
    seed: int = 1
    first_day: dt.date = dt.date(2026, 1, 1)
    days: int = 3
    regions: tuple[str, ...] = tuple(REGIONS)

    def chunks(self) -> Iterator[Chunk]:
        oldest_ms = (self.first_day - dt.date(1970, 1, 1)).days * DAY_MS
        event_ms = self.days * DAY_MS / self.events
        carried = _NOTHING
        for first in range(0, self.events, CHUNK):
            last = min(first + CHUNK, self.events)
            plan = Plan(
                seed=self.seed,
                first=first,
                last=last,
                begin_ms=oldest_ms + first * event_ms,
                end_ms=oldest_ms + last * event_ms,
                oldest_ms=oldest_ms,
                regions=self.regions,
            )
            arrived = pl.concat([carried, plan.messages]).sort("arrival")
            if last < self.events:
                now = pl.col("arrival") < plan.end_ms
                arrived, carried = arrived.filter(now), arrived.filter(~now)
            transactions = share(TRANSACTIONAL / TRANSACTION, first, last)
            segments = tuple(_segments(arrived, plan, transactions))
            aborted = sum(len(segment.messages) for segment in segments if segment.kind == "aborted")
            yield Chunk(segments=segments, silver=plan.silver, counts=plan.counts + Counter(aborted=aborted))


def _segments(arrived: pl.DataFrame, plan: Plan, transactions: range) -> Iterator[Segment]:
    """The messages in sequence, with the transactions evenly among them; the last ones are plain."""
    stride = len(arrived) // (len(transactions) + 1)
    done = 0
    for place, transaction in enumerate(transactions, 1):
        end = place * stride
        if transaction % ABORTED_EVERY:
            yield Segment(kind="plain", messages=arrived[done : end - TRANSACTION])
            yield Segment(kind="committed", messages=arrived[end - TRANSACTION : end])
        else:
            yield Segment(kind="plain", messages=arrived[done:end])
            yield Segment(kind="aborted", messages=plan.never(TRANSACTION))
        done = end
    yield Segment(kind="plain", messages=arrived[done:])
