"""A shop as its event stream shows it: orders that go on, and the trouble that streams have."""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from random import Random

from dagster_project.sources.events import Event, Headers
from dagster_project.sources.order import Columns, Order, place_order, to_json
from dagster_project.sources.poison import poison

# An order makes 2.85 events in the mean; a little over 1 / 2.85 lets some orders stay open at the end.
NEW_ORDER = 0.4
# Of the orders that are paid: the event of the payment arrives after the event of the state that follows it.
OVERTAKEN = 0.1
# An event that was overtaken is this much older at most: out of order, but within any sensible lateness.
OVERTAKEN_BY = dt.timedelta(minutes=5)
# Late rows are beyond the allowed lateness by one second at least, and reach back up to a quarter of a day.
LATE_BY = dt.timedelta(seconds=1)
LATE_REACH = dt.timedelta(hours=6)
# A duplicate repeats one of this many events before it: retries come soon, but not only at once.
RECENT = 100


class Shop:
    """The orders that are open, and what was sent of late. Each call gives the next event; time only goes forward."""

    def __init__(self, rng: Random, *, headers: Iterator[Headers], allowed_lateness: dt.timedelta) -> None:
        self._rng = rng
        self._headers = headers
        self._allowed_lateness = allowed_lateness
        self._open: list[Order] = []
        self._overtaken: deque[tuple[Columns, dt.datetime]] = deque()
        self._recent: deque[tuple[Event, dt.datetime]] = deque(maxlen=RECENT)
        self._newest = dt.datetime.min.replace(tzinfo=dt.UTC)

    @property
    def is_new(self) -> bool:
        """Nothing valid was sent yet."""
        return not self._recent

    def next(self, now: dt.datetime) -> Event:
        """An order is placed, or goes on."""
        if self._overtaken:
            return self._emit(*self._overtaken.popleft())
        order = None if self._rng.random() < NEW_ORDER else self._take()
        if order is None:
            order = place_order(self._rng, at=now)
            return self._send(order, order.event())
        if order.status == "created" and self._rng.random() < OVERTAKEN:
            return self._overtake(order, now, paid_after=max(order.since, now - OVERTAKEN_BY), paid_before=now)
        return self._send(order, order.advance(self._rng, at=now))

    def late(self, now: dt.datetime) -> Event:
        """Something that happened longer ago than the allowed lateness; or, once in a while, what overtook it."""
        cutoff = self._newest - self._allowed_lateness - LATE_BY
        order = self._take()
        if order is not None and order.since < cutoff:
            if order.status == "created":
                return self._overtake(order, now, paid_after=order.since, paid_before=cutoff)
            return self._send(order, order.advance(self._rng, at=self._between(order.since, cutoff)))
        if order is not None:
            self._open.append(order)
        order = place_order(self._rng, at=self._between(cutoff - LATE_REACH, cutoff))
        return self._send(order, order.event())

    def duplicate(self) -> Event:
        """A recent event once more, to the byte."""
        event, moment = self._rng.choice(self._recent)
        return replace(event, kind="duplicate", late=self._is_late(moment))

    def poison(self, now: dt.datetime) -> Event:
        """An event that is broken; its order stays as it is."""
        order = self._rng.choice(self._open) if self._open else place_order(self._rng, at=now)
        return poison(self._rng, order, at=now, headers=next(self._headers))

    def _overtake(self, order: Order, now: dt.datetime, *, paid_after: dt.datetime, paid_before: dt.datetime) -> Event:
        """Send the state after next, and keep the one between for the event that follows."""
        paid = order.advance(self._rng, at=self._between(paid_after, paid_before))
        if order.finished:
            return self._send(order, paid)
        self._overtaken.append((paid, order.since))
        return self._send(order, order.advance(self._rng, at=now))

    def _take(self) -> Order | None:
        """Any open order, taken out of the pool in constant time."""
        if not self._open:
            return None
        place = int(len(self._open) * self._rng.random())
        self._open[place], self._open[-1] = self._open[-1], self._open[place]
        return self._open.pop()

    def _send(self, order: Order, columns: Columns) -> Event:
        if not order.finished:
            self._open.append(order)
        return self._emit(columns, order.since)

    def _emit(self, columns: Columns, moment: dt.datetime) -> Event:
        event = Event(
            key=columns["order_id"].strip('"').encode(),
            value=to_json(columns),
            headers=next(self._headers),
            kind="valid",
            event_time=columns["event_time"].strip('"'),
            late=self._is_late(moment),
        )
        self._newest = max(self._newest, moment)
        self._recent.append((event, moment))
        return event

    def _is_late(self, moment: dt.datetime) -> bool:
        # Added and not subtracted: the oldest moment there is has nothing before it.
        return moment + self._allowed_lateness < self._newest

    def _between(self, first: dt.datetime, last: dt.datetime) -> dt.datetime:
        return first + (last - first) * self._rng.random()
