"""The change log of the customers: who comes, changes, is deleted, and comes back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from random import Random

from dagster_project.sources.events import rfc3339
from dagster_project.sources.order import draw
from dagster_project.sources.retail.facts import MILLISECOND, Fact, Told, spelled, zone_of
from dagster_project.sources.retail.world import Customer, World

COUNTRIES = {"eu": ("DE", "FR", "IT", "NL", "PL"), "us": ("US",), "apac": ("JP", "AU", "SG")}
SEGMENTS, SEGMENT_WEIGHTS = ("consumer", "business", "vip"), (80, 15, 5)
# A customer's record changes up to so often after it was made; so many of the changes are deletes, so many are moves.
MOST_CHANGES, DELETED, MOVED = 4, 0.15, 0.2
# Nobody moves to the region that falls silent: what happens to a customer would end with it.
DESTINATIONS = ("eu", "us")
NO_EMAIL = 0.1


def customers(world: World) -> Iterator[Told]:
    """Every change of a customer's record; no two of one customer at the same time."""
    for number, customer in enumerate(world.customers):
        rng = world.rng("customer", number)
        yield customer.since - MILLISECOND, list(_history(world, rng, customer))


def count(world: World) -> int:
    return sum(len(facts) for _, facts in customers(world))


def _history(world: World, rng: Random, customer: Customer) -> Iterator[Fact]:
    key, zone, region = customer.customer_id.encode(), zone_of(rng, customer.region), customer.region
    there = False
    for at in _moments(rng, customer.since, world.until[customer.region]):
        if there and rng.random() < DELETED:
            there = False
            yield Fact(at, world.known(at, region), key, None, rfc3339(at))
            continue
        if there and rng.random() < MOVED:
            region = rng.choice(DESTINATIONS)
        there = True
        email = "null" if rng.random() < NO_EMAIL else f'"{customer.customer_id}.{draw(rng, 0, 1000)}@mail.example"'
        time = spelled(at, zone)
        value = (
            f'{{"customer_id":"{customer.customer_id}","event_time":"{time}","region":"{region}",'
            f'"segment":"{rng.choices(SEGMENTS, SEGMENT_WEIGHTS)[0]}","country":"{rng.choice(COUNTRIES[region])}",'
            f'"email":{email}}}'
        )
        yield Fact(at, world.known(at, region), key, value.encode(), time)


def _moments(rng: Random, since: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
    """When the record is made and changed: whole milliseconds, as a Kafka record's own time has no more."""
    since = since.replace(microsecond=since.microsecond // 1000 * 1000)
    reach = (until - since) // MILLISECOND
    later = {1 + int(reach * rng.random()) for _ in range(draw(rng, 0, MOST_CHANGES + 1))}
    return [since, *(since + MILLISECOND * passed for passed in sorted(later))]
