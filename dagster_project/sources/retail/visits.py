"""Page views: visits that wander from the home page towards the checkout, and a bot that never stops."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from random import Random
from zoneinfo import ZoneInfo

from dagster_project.sources.order import SKUS, draw
from dagster_project.sources.retail.facts import SECOND, Fact, Told, spelled, zone_of
from dagster_project.sources.retail.world import World

# Ten for each event of the orders, of which an order makes 2.8.
VIEWS_PER_ORDER = 28
BOT, BOT_SHARE, BOT_REGION = "bot-0001", 0.3, "eu"
# One device is dead at the end; before that it visits the shop so often.
DEAD, DEAD_EVERY, DEAD_REGION = "v-dead", 50, "eu"
# Customers come with any of so many devices, and sign in on some visits.
DEVICES, SIGNED_IN = 3, 0.4
# After each view a visit ends with this chance; else the next one follows within minutes, or now and then after a pause
# that is longer than the 30 minutes that part sessions.
LEAVES, PAUSES = 0.15, 0.03
NEXT_S, PAUSE_S = (2, 600), (1_860, 7_200)
# After each kind of page, what may follow: towards the checkout, with much going back.
NEXT_PAGE = {
    "home": ("search", "search", "product"),
    "search": ("product", "product", "search"),
    "product": ("product", "search", "cart"),
    "cart": ("checkout", "product", "home"),
    "checkout": ("home",),
}
# What a bot looks at; how long people look, where a browser tells.
BOT_PAGES = ("search", "product", "product")
TIMED, DURATION_MS = 0.8, (200, 120_000)
REFERRERS = ("https://search.example/?q=naïve+façade", "https://news.example/", "https://mail.example/offer/7")


@dataclass(frozen=True, kw_only=True)
class _Visit:
    """Who visits, as JSON text if a customer; and how their device writes the time."""

    visitor: str
    customer_id: str
    region: str
    zone: ZoneInfo | None


def page_views(world: World) -> Iterator[Told]:
    """All views, the bot's among them: as many as `count` says."""
    return heapq.merge(_visits(world), _bot(world), key=itemgetter(0))


def count(world: World) -> int:
    return world.orders * VIEWS_PER_ORDER


def bot_count(world: World) -> int:
    return round(count(world) * BOT_SHARE)


def _visits(world: World) -> Iterator[Told]:
    rng = world.rng("visits")
    total = count(world) - bot_count(world)
    done, number = 0, 0
    while done < total:
        # The more there are, the closer they follow: the last view that is wanted comes at the end.
        begin = world.moment((done + rng.random()) / total)
        if number % DEAD_EVERY == 0:
            visitor, customer_id, region = DEAD, "null", DEAD_REGION
        else:
            customer = world.customer(rng, begin)
            visitor = f"v{customer.customer_id[1:]}-{draw(rng, 0, DEVICES)}"
            customer_id = f'"{customer.customer_id}"' if rng.random() < SIGNED_IN else "null"
            region = customer.region
        visit = _Visit(visitor=visitor, customer_id=customer_id, region=region, zone=zone_of(rng, region))
        at, page, facts = begin, "home", list[Fact]()
        while done < total and at < world.until[region]:
            facts.append(_view(world, rng, visit, at=at, page=page, number=done))
            done += 1
            if rng.random() < LEAVES:
                break
            at += SECOND * draw(rng, *(PAUSE_S if rng.random() < PAUSES else NEXT_S))
            page = rng.choice(NEXT_PAGE[page])
        yield begin, facts
        number += 1


def _view(world: World, rng: Random, visit: _Visit, *, at: dt.datetime, page: str, number: int) -> Fact:
    known = world.end if visit.visitor == DEAD and at >= world.dead_from else world.known(at, visit.region)
    view_id, time = f"{world.fingerprint}-{number:x}", spelled(at, visit.zone)
    value = (
        f'{{"view_id":"{view_id}","visitor_id":"{visit.visitor}","customer_id":{visit.customer_id},'
        f'"region":"{visit.region}","event_time":"{time}","page":"{page}"'
    )
    if page == "product":
        value += f',"sku":"SKU-{draw(rng, 0, SKUS):04d}"'
    if page == "home":
        value += f',"referrer":"{rng.choice(REFERRERS)}"'
    if rng.random() < TIMED:
        value += f',"duration_ms":{draw(rng, *DURATION_MS)}'
    return Fact(at, known, view_id.encode(), f"{value}}}".encode(), time)


def _bot(world: World) -> Iterator[Told]:
    rng = world.rng("bot")
    bot = _Visit(visitor=BOT, customer_id="null", region=BOT_REGION, zone=None)
    total = bot_count(world)
    for number in range(total):
        at = world.moment((number + rng.random()) / total)
        view = _view(world, rng, bot, at=at, page=rng.choice(BOT_PAGES), number=count(world) + number)
        yield at, [view]
