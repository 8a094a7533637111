"""`python -m tests.live.shop`: the project's retail streams by the clock, made before they begin, so that sending costs little.

Each event is sent when the world knows of it, exactly once, through whatever happens to the broker meanwhile. One region of
one stream may be cut off for a while: what happens there comes when it is back.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from random import Random

from dagster_project.cli.sender import Sender
from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakehouseError
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.settings import Settings
from dagster_project.sources.events import Event
from dagster_project.sources.order import CURRENCY
from dagster_project.sources.retail.streams import STREAMS, Retail, orders_at, streams
from dagster_project.sources.retail.transport import Arrival, Transport
from dagster_project.sources.retail.world import World
from dagster_project.sources.source import Source

# In order, as the ledger waits for a refund's capture, and says so. Little poison, as completeness is promised of 999 in a
# thousand. Nothing is later than it may be: in ten minutes nothing can.
TRANSPORT = Transport(order="time", duplicates=0.02, late=0.0, poison=0.0002)
# After an outage what was held up is sent at this many times the usual rate.
_CATCH_UP = 1.5
# A broker that was killed is away for a while, longer than a producer waits.
_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Business(World):
    """A world in which no region falls silent but the one that a test makes so."""

    @cached_property
    def until(self) -> dict[str, dt.datetime]:
        return dict.fromkeys(CURRENCY, self.end)

    def known(self, at: dt.datetime, region: str) -> dt.datetime:
        return at


@dataclass(frozen=True, kw_only=True)
class Outage:
    """A region's events of one stream do not arrive for so long, in seconds since the start."""

    stream: str
    region: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Timetable(Source):
    """Events with the moments (since the epoch) at which they are sent."""

    origin: Retail
    events: tuple[tuple[float, Event], ...]

    @property
    def parameters(self) -> Mapping[str, object]:
        return self.origin.parameters

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        for at, event in self.events:
            if (early := at - time.time()) > 0:
                time.sleep(early)
            yield event


def timetable(origin: Retail, outage: Outage | None) -> Timetable:
    """All events of a stream, in the order in which they are sent."""
    rng = Random(origin.progress_group)
    arriving = origin.transport.arrange(
        STREAMS[origin.dataset.name](origin.world),
        rng=rng,
        allowed_lateness=origin.dataset.allowed_lateness,
        span=origin.world.span,
    )
    moment = 0.0

    def noted() -> Iterator[Arrival]:
        nonlocal moment
        for arrival in arriving:
            moment = arrival[0].timestamp()
            yield arrival

    events = [(moment, event) for event in origin._events(noted(), rng)]
    if outage is not None and outage.stream == origin.dataset.name:
        start = origin.world.start.timestamp()
        begin, end, mark = start + outage.begin_s, start + outage.end_s, f'"region":"{outage.region}"'.encode()
        events = [(end if begin <= at < end and mark in event.value else at, event) for at, event in events]
        events.sort(key=itemgetter(0))  # stable: at the end of the outage they come as they happened
    return Timetable(dataset=origin.dataset, origin=origin, events=tuple(events))


def send(sources: list[Timetable], settings: Settings) -> dict[str, int]:
    """Send all of them to their ends; returns how many events of each the topic has."""
    servers = bootstrap_servers(settings)

    def sender(source: Timetable) -> Sender:
        span = source.origin.world.span.total_seconds()
        made = Sender(source, settings, servers, rate=max(1.0, len(source) / span * _CATCH_UP))
        made.start()
        return made

    working = [sender(source) for source in sources]
    sent: dict[str, int] = {}
    while working:
        time.sleep(_AGAIN_S)
        for place, one in enumerate(working):
            if one.is_alive():
                continue
            if one.done is not None:
                sent[one.done.topic] = one.done.produced + one.done.skipped
            elif isinstance(one.error, LakehouseError):  # it goes on where it stopped
                sys.stderr.write(f"{one.error}\n")
                working[place] = sender(next(source for source in sources if source is one.source))
                continue
            else:
                assert one.error is not None
                raise one.error
        working = [one for one in working if one.done is None]
    return sent


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live.shop", description=__doc__)
    parser.add_argument("--start", type=dt.datetime.fromisoformat, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outage", help="STREAM/REGION/BEGIN/END, in seconds since the start")
    options = parser.parse_args(arguments)
    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    outage = None
    if options.outage:
        stream, region, begin, end = options.outage.split("/")
        outage = Outage(stream=stream, region=region, begin_s=float(begin), end_s=float(end))
    world = Business(orders=1, seed=options.seed, days=options.seconds / 86_400, start=options.start)
    only = {dataset.name for dataset in catalog.datasets}
    world = replace(world, orders=orders_at(options.rate, catalog, world=world, transport=TRANSPORT, only=only))
    sources = [timetable(source, outage) for source in streams(catalog, world=world, transport=TRANSPORT, only=only)]
    early = options.start.timestamp() - time.time()
    sys.stderr.write(f"{sum(map(len, sources)):,} events are made, {early:.0f} s before they begin\n")
    sys.stdout.write(json.dumps(send(sources, settings)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
