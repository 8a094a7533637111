"""The world that the four streams tell of: when it is, who lives where, and what goes wrong when."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import astuple, dataclass
from functools import cached_property
from random import Random
from typing import NamedTuple

from dagster_project.errors import ConfigurationError
from dagster_project.sources.order import CURRENCY, REGION_WEIGHTS
from dagster_project.sources.retail.facts import MICROSECOND

# Its 30 days have both changes to daylight-saving time: New York's on 8 March, Berlin's on the 29th.
DEFAULT_START = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
# From here on nothing happens in this region any more.
SILENT, SILENT_FROM = "apac", 0.9
# This region cannot send for so long; afterwards everything it held back comes at once.
CUT_OFF, CUT_OFF_FROM, CUT_OFF_FOR = "us", 0.4, dt.timedelta(hours=6)
# What a dead device saw within this time before the end comes last of all.
DEAD_FOR = dt.timedelta(days=7)
# In a world of an hour, nobody is cut off for six: these are the greatest shares of the whole.
CUT_OFF_SHARE, DEAD_SHARE = 0.1, 0.25

# So many customers there are for an order, and so many of them before the first order, since so long.
CUSTOMERS_PER_ORDER, LEAST_CUSTOMERS = 0.1, 20
KNOWN, KNOWN_FOR = 0.7, dt.timedelta(days=2)


class Customer(NamedTuple):
    """Who there is, since when, and where they lived at first."""

    customer_id: str
    since: dt.datetime
    region: str


@dataclass(frozen=True, kw_only=True)
class World:
    """One retail business. The same parameters give the same facts.

    Attributes:
        orders: how many are placed.
        days: over how many days.
        refunds, chargebacks: shares of the payments of which such follow.
        live: events happen by the clock, so `start` is the moment at which sending begins.
    """

    orders: int
    seed: int
    days: float = 30
    start: dt.datetime = DEFAULT_START
    refunds: float = 0.02
    chargebacks: float = 0.002
    live: bool = False

    def __post_init__(self) -> None:
        shares = (self.refunds, self.chargebacks)
        if self.orders < 1 or self.days <= 0 or min(shares) < 0 or sum(shares) > 1:
            raise ConfigurationError(
                f"{self.orders} orders in {self.days} days with the shares refunds, chargebacks = {shares}",
                expected="at least one order, more than no time, and shares between 0 and 1 that sum up to at most 1",
                remedy="change the options",
            )

    @cached_property
    def span(self) -> dt.timedelta:
        return dt.timedelta(days=self.days)

    @cached_property
    def end(self) -> dt.datetime:
        return self.start + self.span

    @cached_property
    def fingerprint(self) -> str:
        """Of all parameters. Ids are made of it: what has one id never happens twice, at different times."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:12]

    def rng(self, *name: object) -> Random:
        """Dice of their own for each thing, so that no stream depends on another's."""
        return Random(f"{self.fingerprint}|{name}")

    def moment(self, share: float) -> dt.datetime:
        """When this share of the time has passed."""
        return self.start + self.span * share

    def after(self, rng: Random, at: dt.datetime, region: str, within: dt.timedelta) -> dt.datetime:
        """A moment after another one, before the region falls silent."""
        reach = min(within, self.until[region] - at)
        return at + MICROSECOND + reach * rng.random()

    def known(self, at: dt.datetime, region: str) -> dt.datetime:
        """When something that happened in a region can be sent."""
        begin, end = self._cut_off
        return end if region == CUT_OFF and begin <= at < end else at

    @cached_property
    def dead_from(self) -> dt.datetime:
        """What the dead device sees from here on comes at the end."""
        return self.end - min(DEAD_FOR, self.span * DEAD_SHARE)

    @cached_property
    def customers(self) -> tuple[Customer, ...]:
        """All there will be, in the order in which they come."""
        rng = self.rng("customers")
        total = max(LEAST_CUSTOMERS, round(self.orders * CUSTOMERS_PER_ORDER))
        known = round(total * KNOWN)
        found: list[Customer] = []
        for number in range(total):
            place = number + rng.random()
            if number < known:
                since = self.start - KNOWN_FOR * (1 - place / known)
            else:
                since = self.moment((place - known) / (total - known))
            found.append(Customer(f"c-{number:05d}", since, self.region(rng, since)))
        return tuple(found)

    def customer(self, rng: Random, at: dt.datetime) -> Customer:
        """Somebody who is there, in a region that is not silent."""
        total = len(self.customers)
        known = round(total * KNOWN)
        there = known + int((total - known) * ((at - self.start) / self.span))
        while True:
            found = self.customers[int(there * rng.random())]
            if at < self.until[found.region]:
                return found

    def region(self, rng: Random, at: dt.datetime) -> str:
        """Any region that is not silent."""
        while True:
            (found,) = rng.choices(tuple(CURRENCY), REGION_WEIGHTS)
            if at < self.until[found]:
                return found

    @cached_property
    def until(self) -> dict[str, dt.datetime]:
        """By region, the end of what happens there."""
        return {region: self.moment(SILENT_FROM) if region == SILENT else self.end for region in CURRENCY}

    @cached_property
    def _cut_off(self) -> tuple[dt.datetime, dt.datetime]:
        begin = self.moment(CUT_OFF_FROM)
        return begin, begin + min(CUT_OFF_FOR, self.span * CUT_OFF_SHARE)
