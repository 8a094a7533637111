"""How facts travel: in which order they are sent, and what is sent twice, late, or broken."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Literal

from dagster_project.errors import ConfigurationError
from dagster_project.sources.retail.facts import SECOND, Fact, Told

# time: of their event times. known: as the world comes to know them, some of them a little late. near: shuffled among
# their neighbours. whole: any order at all, for which all of the stream is held in memory.
Order = Literal["time", "known", "near", "whole"]

# When a fact is sent, and the fact.
Arrival = tuple[dt.datetime, Fact]

# One in ten is overtaken by what happened after it: out of order, but within any sensible lateness.
OVERTAKEN, OVERTAKEN_BY = 0.1, dt.timedelta(minutes=5)
# Late facts are later than what is allowed by a second at least, and by up to a quarter of a day.
LATE_BY = dt.timedelta(hours=6)
# Where little time passes in all, nothing is held back by more than this share of it.
MOST_SHARE = 0.1
# Neighbours are this many.
NEAR = 1_000


@dataclass(frozen=True, kw_only=True)
class Transport:
    """What befalls a stream on its way. The facts themselves stay the same.

    Attributes:
        order: in which they are sent.
        late: share of the facts that is held back for longer than is allowed.
        duplicates, poison: so many of them are sent besides, as a share of the facts.
    """

    order: Order = "known"
    duplicates: float = 0.05
    late: float = 0.03
    poison: float = 0.005

    def __post_init__(self) -> None:
        shares = (self.duplicates, self.late, self.poison)
        if min(shares) < 0 or max(shares) > 1:
            raise ConfigurationError(
                f"the shares duplicates, late, poison = {shares}",
                expected="shares between 0 and 1",
                remedy="change the options",
            )

    def arrange(
        self, told: Iterator[Told], *, rng: Random, allowed_lateness: dt.timedelta, span: dt.timedelta
    ) -> Iterator[Arrival]:
        """The facts in the order in which they are sent, each with its moment.

        Args:
            span: over how long they happen.
        """
        arriving = _in_order(self._arrivals(told, rng, allowed_lateness + SECOND, span * MOST_SHARE))
        match self.order:
            case "time" | "known":
                yield from arriving
            case "near":
                yield from _shuffled(arriving, rng)
            case "whole":
                everything = list(arriving)
                rng.shuffle(everything)
                yield from everything

    def _arrivals(
        self, told: Iterator[Told], rng: Random, late_from: dt.timedelta, most: dt.timedelta
    ) -> Iterator[tuple[dt.datetime, list[Arrival]]]:
        late_by, overtaken_by = min(LATE_BY, most), min(OVERTAKEN_BY, most)
        for begin, facts in told:
            arrivals: list[Arrival] = []
            for fact in facts:
                at = fact.at if self.order == "time" else fact.known
                if self.late and rng.random() < self.late:
                    at = max(at, fact.at + late_from + late_by * rng.random())
                elif self.order != "time" and rng.random() < OVERTAKEN:
                    at += overtaken_by * rng.random()
                arrivals.append((at, fact))
            yield begin, arrivals


def _in_order(told: Iterator[tuple[dt.datetime, list[Arrival]]]) -> Iterator[Arrival]:
    """By moment of arrival, then event time. Only what is under way is held in memory."""
    ties = count()
    waiting: list[tuple[dt.datetime, dt.datetime, int, Fact]] = []
    for begin, arrivals in told:
        while waiting and waiting[0][0] < begin:  # nothing that is told of later comes earlier
            at, _, _, fact = heapq.heappop(waiting)
            yield at, fact
        for at, fact in arrivals:
            heapq.heappush(waiting, (at, fact.at, next(ties), fact))
    while waiting:
        at, _, _, fact = heapq.heappop(waiting)
        yield at, fact


def _shuffled(arrivals: Iterator[Arrival], rng: Random) -> Iterator[Arrival]:
    """Each one is exchanged for any of those that wait, so few go far."""
    waiting: list[Arrival] = []
    for arrival in arrivals:
        if len(waiting) < NEAR:
            waiting.append(arrival)
            continue
        place = int(NEAR * rng.random())
        waiting[place], out = arrival, waiting[place]
        yield out
    rng.shuffle(waiting)
    yield from waiting
