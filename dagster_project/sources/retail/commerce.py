"""Orders and their payments: what becomes of each order is drawn once, and both streams tell of it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from dagster_project.sources.order import CURRENCY, YEN_FACTOR, Order, money, place_order, to_json
from dagster_project.sources.retail.facts import Fact, Told, spelled, zone_of
from dagster_project.sources.retail.world import Customer, World

# Of all orders: so many are never paid, and so many cancelled before that. Of the paid ones, so many are not shipped yet.
UNPAID, CANCELLED, NOT_SHIPPED = 0.03, 0.10, 0.05
PAID_WITHIN, SHIPPED_WITHIN = dt.timedelta(hours=2), dt.timedelta(days=3)
REFUNDED_WITHIN, CHARGED_BACK_WITHIN = dt.timedelta(days=10), dt.timedelta(days=20)
# Of the refunds: all of it, so that the order is cancelled; half of it; or a quarter, and later another one.
FULL, HALF = 0.5, 0.8


@dataclass(frozen=True, kw_only=True)
class Life:
    """What becomes of an order.

    Attributes:
        states: each state after the first, and when it is reached.
        payments: kind, quarters of the amount, and when; none if it is never paid.
        rng: goes on with what the order is of.
    """

    at: dt.datetime
    customer: Customer
    states: tuple[tuple[str, dt.datetime], ...]
    payments: tuple[tuple[str, int, dt.datetime], ...]
    rng: Random

    def order(self) -> Order:
        """To be asked for once: it rolls the dice."""
        customer = self.customer
        return place_order(self.rng, at=self.at, region=customer.region, customer_id=customer.customer_id)


def lives(world: World) -> Iterator[Life]:
    """Of all orders, as they are placed."""
    for number in range(world.orders):
        rng = world.rng("order", number)
        at = world.moment((number + rng.random()) / world.orders)
        customer = world.customer(rng, at)
        states, payments = _draw(world, rng, at, customer.region)
        yield Life(at=at, customer=customer, states=tuple(states), payments=tuple(payments), rng=rng)


def orders(world: World) -> Iterator[Told]:
    """Every state that an order reaches."""
    for life in lives(world):
        order, region = life.order(), life.customer.region
        zone = zone_of(life.rng, region)
        columns = {**order.columns, "ordered_at": f'"{spelled(life.at, zone)}"'}
        facts: list[Fact] = []
        for status, at in (("created", life.at), *life.states):
            time = spelled(at, zone)
            text = to_json({**columns, "event_time": f'"{time}"', "status": f'"{status}"'})
            facts.append(Fact(at, world.known(at, region), order.order_id.encode(), text, time))
        yield life.at, facts


def payments(world: World) -> Iterator[Told]:
    """What each order that is paid moves: a capture, and what of it goes back."""
    for life in lives(world):
        if not life.payments:
            continue
        order, region = life.order(), life.customer.region
        cents = int(order.columns["amount"].replace(".", ""))
        payment_id = str(uuid.UUID(int=life.rng.getrandbits(128), version=4))
        zone = zone_of(life.rng, region)
        first = life.payments[0][2]
        coin = YEN_FACTOR if CURRENCY[region] == "JPY" else 1
        facts: list[Fact] = []
        for sequence, (kind, quarters, at) in enumerate(life.payments, 1):
            part, time = cents * quarters // (4 * coin) * coin, spelled(at, zone)
            columns = {
                "payment_id": f'"{payment_id}"',
                "sequence": str(sequence),
                "order_id": f'"{order.order_id}"',
                "customer_id": order.columns["customer_id"],
                "region": order.columns["region"],
                "currency": order.columns["currency"],
                "kind": f'"{kind}"',
                "amount": money(part),
                "payment_at": f'"{spelled(first, zone)}"',
                "event_time": f'"{time}"',
            }
            facts.append(Fact(at, world.known(at, region), payment_id.encode(), to_json(columns), time))
        yield life.at, facts


def order_count(world: World) -> int:
    return sum(1 + len(life.states) for life in lives(world))


def payment_count(world: World) -> int:
    return sum(len(life.payments) for life in lives(world))


def _draw(
    world: World, rng: Random, at: dt.datetime, region: str
) -> tuple[list[tuple[str, dt.datetime]], list[tuple[str, int, dt.datetime]]]:
    """The states that follow, and the payment's events."""
    dice = rng.random()
    if dice < UNPAID:
        return [], []
    then = world.after(rng, at, region, PAID_WITHIN)
    if dice < UNPAID + CANCELLED:
        return [("cancelled", then)], []
    states, payments = [("paid", then)], [("capture", 4, then)]
    dice, kind = rng.random(), rng.random()
    if dice < world.refunds and kind < FULL:
        back = world.after(rng, then, region, SHIPPED_WITHIN)
        return [*states, ("cancelled", back)], [*payments, ("refund", 4, back)]
    if dice < world.refunds + world.chargebacks:
        charged = dice >= world.refunds
        back = world.after(rng, then, region, CHARGED_BACK_WITHIN if charged else REFUNDED_WITHIN)
        payments.append(("chargeback", 4, back) if charged else ("refund", 2 if kind < HALF else 1, back))
        if not charged and kind >= HALF:
            payments.append(("refund", 1, world.after(rng, back, region, REFUNDED_WITHIN)))
    if rng.random() >= NOT_SHIPPED:
        states.append(("shipped", world.after(rng, then, region, SHIPPED_WITHIN)))
    return states, payments
