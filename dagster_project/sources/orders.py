"""A shop's order events from a seed: duplicates, late rows and poison among them, each one known."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from dagster_project.errors import ConfigurationError
from dagster_project.sources.events import Event
from dagster_project.sources.shop import Shop
from dagster_project.sources.source import Source

DEFAULT_START = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
# Event times of a stream that is not live are spread over this long: several dates, so several table partitions.
SPAN = dt.timedelta(days=3)


@dataclass(frozen=True, kw_only=True)
class Orders(Source):
    """Events of orders as they go from created to paid to shipped, or are cancelled.

    Attributes:
        events: how many, trouble included.
        duplicates, late, poison: the fractions of the events that are such.
        start: event time of the first event. A live run begins there, and then goes by the clock.
        live: event times are the moments of sending. Two live runs are two streams, for they start apart.
    """

    events: int
    seed: int
    duplicates: float = 0.05
    late: float = 0.03
    poison: float = 0.005
    start: dt.datetime = DEFAULT_START
    live: bool = False

    def __post_init__(self) -> None:
        fractions = (self.duplicates, self.late, self.poison)
        if self.events < 0 or min(fractions) < 0 or sum(fractions) > 1:
            raise ConfigurationError(
                f"{self.events} events with the fractions duplicates, late, poison = {fractions}",
                expected="zero or more events; fractions between 0 and 1 that sum up to at most 1",
                remedy="change the options",
            )

    @property
    def parameters(self) -> Mapping[str, object]:
        return {
            "events": self.events,
            "seed": self.seed,
            "duplicates": self.duplicates,
            "late": self.late,
            "poison": self.poison,
            "start": self.start,
            "live": self.live,
        }

    def __len__(self) -> int:
        return self.events

    def __iter__(self) -> Iterator[Event]:
        # Streams with other parameters place other orders: an order is never placed at two different times.
        rng = Random(self.progress_group)
        shop = Shop(rng, headers=self.headers(), allowed_lateness=self.dataset.allowed_lateness)
        for number in range(self.events):
            dice = rng.random()
            now = dt.datetime.now(dt.UTC) if self.live else self.start + SPAN * ((number + rng.random()) / self.events)
            # Before the first event there is nothing to repeat, and nothing to be later than.
            if dice < self.poison:
                yield shop.poison(now)
            elif shop.is_new or dice >= self.poison + self.duplicates + self.late:
                yield shop.next(now)
            elif dice < self.poison + self.duplicates:
                yield shop.duplicate()
            else:
                yield shop.late(now)
