"""One order: what was bought, and the states that it goes through."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from dagster_project.sources.events import rfc3339

# JSON text of each column, in the order it is written. Text and not values: a JSON number made from a Decimal keeps its
# two digits, and poison can put anything in a column's place.
Columns = Mapping[str, str]

CURRENCY = {"eu": "EUR", "us": "USD", "apac": "JPY"}
# Uneven on purpose, as table partitions are in life.
REGION_WEIGHTS = (50, 35, 15)
CUSTOMERS = 5_000
SKUS = 500
# In cents: 1 to 200 of a currency. A yen is worth about a cent and has no smaller coin, so yen prices are whole.
PRICE_CENTS = (100, 20_000)
YEN_FACTOR = 100
CANCELLED_BEFORE_PAYMENT = 0.10
CANCELLED_AFTER_PAYMENT = 0.05
NOTES = (
    "please ring twice 🔔🔔",
    'say "happy birthday" 🎂',
    "first line\nsecond line\ttab",
    "naïve façade in Zürich, 東京",
    "back\\slash / slash",
    "gate 7, 👩‍👩‍👧 family",
    "",
)
# Of all orders: 60 % have no note, 10 % have a null; the others take one from the list.
NOTE_ABSENT = 0.60
NOTE_NULL = 0.70
# Half of the notes are escaped to ASCII: both are the same JSON.
NOTE_ASCII = 0.5


@dataclass(kw_only=True, slots=True)
class Order:
    """An order as checkout knows it: its state, and since when."""

    order_id: str
    ordered_at: dt.datetime
    columns: Columns
    status: str
    since: dt.datetime

    @property
    def finished(self) -> bool:
        return self.status in ("shipped", "cancelled")

    def advance(self, rng: Random, *, at: dt.datetime) -> Columns:
        """Go to the next state; the columns of the event that says so."""
        if self.status == "created":
            self.status = "cancelled" if rng.random() < CANCELLED_BEFORE_PAYMENT else "paid"
        else:
            self.status = "cancelled" if rng.random() < CANCELLED_AFTER_PAYMENT else "shipped"
        self.since = at
        return self.event()

    def event(self) -> Columns:
        """The columns of the event that the order is in its state."""
        return {**self.columns, "event_time": f'"{rfc3339(self.since)}"', "status": f'"{self.status}"'}


def place_order(rng: Random, *, at: dt.datetime, region: str = "", customer_id: str = "") -> Order:
    """A new order with one to four items, of anybody anywhere unless somebody is named."""
    order_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    region = region or rng.choices(tuple(CURRENCY), REGION_WEIGHTS)[0]
    total = 0
    items: list[str] = []
    for _ in range(draw(rng, 1, 5)):
        sku, quantity, price = draw(rng, 0, SKUS), draw(rng, 1, 6), draw(rng, *PRICE_CENTS)
        if CURRENCY[region] == "JPY":
            price *= YEN_FACTOR
        total += quantity * price
        items.append(f'{{"sku":"SKU-{sku:04d}","quantity":{quantity},"unit_price":{money(price)}}}')
    moment = f'"{rfc3339(at)}"'
    customer_id = customer_id or f"c-{draw(rng, 0, CUSTOMERS):05d}"
    columns = {
        "order_id": f'"{order_id}"',
        "ordered_at": moment,
        "event_time": moment,
        "region": f'"{region}"',
        "status": '"created"',
        "customer_id": f'"{customer_id}"',
        "currency": f'"{CURRENCY[region]}"',
        "amount": money(total),
        "items": f"[{','.join(items)}]",
    }
    dice = rng.random()
    if dice >= NOTE_NULL:
        columns["note"] = json.dumps(rng.choice(NOTES), ensure_ascii=rng.random() < NOTE_ASCII)
    elif dice >= NOTE_ABSENT:
        columns["note"] = "null"
    return Order(order_id=order_id, ordered_at=at, columns=columns, status="created", since=at)


def to_json(columns: Columns) -> bytes:
    """The columns as one compact JSON object."""
    members = ",".join(f'"{name}":{text}' for name, text in columns.items())
    return f"{{{members}}}".encode()


def draw(rng: Random, first: int, end: int) -> int:
    """Any whole number from the first on, below the end."""
    # Four times as fast as `randrange`, and even enough for a shop.
    return first + int((end - first) * rng.random())


def money(cents: int) -> str:
    """Two digits after the point, as JSON."""
    return f"{cents // 100}.{cents % 100:02d}"
