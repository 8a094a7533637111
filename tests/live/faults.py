"""What is done to a live platform, and the one alert that has to come of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import confluent_kafka as ck

from dagster_project.services import kafka
from tests.live.ground import Ground

# As of a store beyond an ocean: a run makes some dozens of requests, one after the other. Listings, which are what stores are
# slow with when they are throttled, take more than the 2 s that are called slow, and less than the 5 s that are called down.
SLOW_S, SLOW_LISTING_S = 0.1, 2.5
# As many again as there are orders, so that half of what comes is broken.
POISON_A_SECOND = 150.0
POISONED = "orders"
# The region that does not arrive, and of which stream.
SILENT = ("orders", "us")
_BROKEN = b'{"order_id": "broken", '


@dataclass(kw_only=True)
class Fault:
    """One way to break a live platform.

    Attributes:
        alert: its name.
        scope: what its scope begins with.
        timed: it begins and ends by the shop's own timetable, and nobody can mend it before.
    """

    name: str
    alert: str
    strike: Callable[[Ground], object]
    mend: Callable[[Ground], object]
    scope: str = ""
    timed: bool = False


@dataclass(kw_only=True)
class Burst:
    """A producer that sends what nobody can decode, beside the one that works."""

    sent: int = 0
    ending: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    def strike(self, ground: Ground) -> None:
        topic = ground.catalog.dataset(POISONED).topic.name
        producer = ck.Producer({"bootstrap.servers": ground.servers, "acks": "all", "log_level": 0})

        def send() -> None:
            while not self.ending.wait(1 / POISON_A_SECOND):
                producer.produce(topic, key=f"broken-{self.sent}", value=_BROKEN)
                self.sent += 1
                producer.poll(0)
            assert producer.flush(60) == 0

        self.thread = threading.Thread(target=send, name="poison", daemon=True)
        self.thread.start()

    def mend(self, _: Ground) -> None:
        self.ending.set()
        if self.thread is not None:
            self.thread.join()


def _delay(ground: Ground, seconds: float, listing: float) -> None:
    assert ground.store is not None, "the lake is not in a store"
    ground.store.delay_s, ground.store.listing_delay_s = seconds, listing


def faults(burst: Burst) -> Iterator[Fault]:
    """In the order of their striking.

    What is remembered longest comes first. What can follow from another fault comes before it: for ten minutes after a slow store
    a cache that is behind is taken for what is left of that.
    """
    yield Fault(name="poison burst", alert="poison-rate", scope=POISONED, strike=burst.strike, mend=burst.mend)
    # Its events do not come, and then come, by the shop's own timetable.
    yield Fault(
        name="silent region",
        alert="silent-region",
        scope="/".join(SILENT),
        timed=True,
        strike=lambda _: None,
        mend=lambda _: None,
    )
    yield Fault(
        name="cache killed",
        alert="stale-cache",
        strike=lambda ground: ground.cache.kill(),
        mend=lambda ground: ground.cache.start(),
    )
    yield Fault(
        name="slow store",
        alert="slow-store",
        strike=lambda ground: _delay(ground, SLOW_S, SLOW_LISTING_S),
        mend=lambda ground: _delay(ground, 0.0, 0.0),
    )
    yield Fault(
        name="broker killed",
        alert="broker-down",
        strike=lambda ground: kafka.stop_broker(ground.settings, 1, kill=True),
        mend=lambda ground: kafka.up(ground.settings),
    )


def wait(seconds: float, until: Callable[[], bool] = lambda: False, *, check: Callable[[], object]) -> bool:
    """Let time pass, until something holds; whether it does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check()
        if until():
            return True
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
    return until()
