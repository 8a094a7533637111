"""The four streams of a retail world, each one a source."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from random import Random

from dagster_project.contract.model import Catalog
from dagster_project.sources.events import Event, Headers
from dagster_project.sources.retail import commerce, people, visits
from dagster_project.sources.retail.facts import MILLISECOND, Fact, Told
from dagster_project.sources.retail.poison import poison
from dagster_project.sources.retail.transport import Arrival, Transport
from dagster_project.sources.retail.world import World
from dagster_project.sources.source import Source

# In the order in which things refer to each other.
STREAMS: dict[str, Callable[[World], Iterator[Told]]] = {
    "customers": people.customers,
    "orders": commerce.orders,
    "payments": commerce.payments,
    "page_views": visits.page_views,
}
_COUNTS: dict[str, Callable[[World], int]] = {
    "customers": people.count,
    "orders": commerce.order_count,
    "payments": commerce.payment_count,
    "page_views": visits.count,
}
# A duplicate repeats one of this many events before it: retries come soon, but not only at once.
RECENT = 100
# Orders of a sample: how many events there are for one order is known to a hundredth.
_SAMPLE = 1_000
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC)


@dataclass(frozen=True, kw_only=True)
class Retail(Source):
    """What one dataset has of a world, after its transport."""

    world: World
    transport: Transport

    @property
    def parameters(self) -> Mapping[str, object]:
        return {"source": "retail", **asdict(self.world), **asdict(self.transport)}

    @cached_property
    def facts(self) -> int:
        """How many there are; what is sent twice or broken comes besides."""
        return _COUNTS[self.dataset.name](self.world)

    def __len__(self) -> int:
        return self.facts + int(self.facts * self.transport.duplicates) + int(self.facts * self.transport.poison)

    def __iter__(self) -> Iterator[Event]:
        # Other dice than the facts have: those are the same whatever befalls them.
        rng = Random(self.progress_group)
        told = STREAMS[self.dataset.name](self.world)
        arriving = self.transport.arrange(
            told, rng=rng, allowed_lateness=self.dataset.allowed_lateness, span=self.world.span
        )
        return self._events(arriving, rng)

    def _events(self, arriving: Iterator[Arrival], rng: Random) -> Iterator[Event]:
        headers = self.headers()
        newest = dt.datetime.min.replace(tzinfo=dt.UTC)
        lateness = self.dataset.allowed_lateness
        recent: list[tuple[Event, dt.datetime]] = []
        for number, (at, fact) in enumerate(arriving, 1):
            if self.world.live:
                time.sleep(max(0.0, (at - dt.datetime.now(dt.UTC)).total_seconds()))
            # Added and not subtracted: the oldest moment there is has nothing before it.
            event = _event(fact, late=fact.at + lateness < newest, headers=next(headers))
            newest = max(newest, fact.at)
            yield event
            if len(recent) < RECENT:
                recent.append((event, fact.at))
            else:
                recent[number % RECENT] = event, fact.at
            if _due(number, self.transport.duplicates):
                again, moment = recent[int(len(recent) * rng.random())]
                yield replace(again, kind="duplicate", late=moment + lateness < newest)
            if _due(number, self.transport.poison):
                yield poison(rng, self.dataset.name, fact, headers=next(headers))


def streams(
    catalog: Catalog, *, world: World, transport: Transport, only: Collection[str] = tuple(STREAMS)
) -> tuple[Retail, ...]:
    """The streams of these names.

    Raises:
        ContractError: the project has no contract of one.
    """
    return tuple(
        Retail(dataset=catalog.dataset(name), world=world, transport=transport) for name in STREAMS if name in only
    )


def orders_at(
    rate: float, catalog: Catalog, *, world: World, transport: Transport, only: Collection[str] = tuple(STREAMS)
) -> int:
    """How many orders make so many events a second in these streams of a world, by a sample of one like it."""
    sample = streams(catalog, world=replace(world, orders=_SAMPLE), transport=transport, only=only)
    return max(1, round(rate * world.span.total_seconds() * _SAMPLE / sum(map(len, sample))))


def _event(fact: Fact, *, late: bool, headers: Headers) -> Event:
    deleted = fact.value is None
    return Event(
        key=fact.key,
        value=fact.value or b"",
        headers=headers,
        kind="delete" if deleted else "valid",
        event_time=fact.time,
        late=late,
        deletes=deleted,
        sent_at=(fact.at - _EPOCH) // MILLISECOND if deleted else 0,
    )


def _due(number: int, share: float) -> bool:
    """Whether another one comes after so many facts, so that in the end there is this share of them."""
    return int(number * share) > int((number - 1) * share)
