"""Poison: events of orders that the platform must quarantine, each broken in one way."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from random import Random

from dagster_project.sources.events import Event, Headers, rfc3339
from dagster_project.sources.order import Order, to_json

# What arrives in place of the JSON text.
BROKEN_TEXT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda text: text[: len(text) // 2],
    "not_an_object": lambda text: b"[" + text + b"]",
    "broken_utf8": lambda text: text.replace(b'"customer_id":"', b'"customer_id":"\xff\xfe'),
    "empty": lambda _: b"",
}
# One column that cannot be decoded or routed; `None` leaves the column out.
UNDECODABLE: dict[str, tuple[str, str | None]] = {
    "amount_text": ("amount", '"abc"'),
    "quantity_fraction": ("items", '[{"sku":"SKU-0001","quantity":1.7,"unit_price":9.99}]'),
    "order_id_number": ("order_id", "5"),
    "order_id_missing": ("order_id", None),
    "event_time_missing": ("event_time", None),
    "event_time_invalid": ("event_time", '"yesterday at noon"'),
    "region_unknown": ("region", '"mars"'),
}
# One column that decodes, but breaks a rule of the contract.
UNLAWFUL: dict[str, tuple[str, str]] = {
    "quantity_zero": ("items", '[{"sku":"SKU-0001","quantity":0,"unit_price":9.99}]'),
    "amount_negative": ("amount", "-1.00"),
    "status_unknown": ("status", '"refunded"'),
    "items_empty": ("items", "[]"),
    "sku_invalid": ("items", '[{"sku":"no such sku!","quantity":1,"unit_price":9.99}]'),
}
EVENT_BEFORE_ORDER = "event_before_order"
TROUBLES = (*BROKEN_TEXT, *UNDECODABLE, *UNLAWFUL, EVENT_BEFORE_ORDER)


def poison(rng: Random, order: Order, *, at: dt.datetime, headers: Headers) -> Event:
    """An event of this order, newer than all the others and broken in a way that is drawn; the order stays as it is."""
    trouble = rng.choice(TROUBLES)
    columns = {**order.event(), "event_time": f'"{rfc3339(at)}"'}
    if trouble in BROKEN_TEXT:
        text = BROKEN_TEXT[trouble](to_json(columns))
        return Event(key=order.order_id.encode(), value=text, headers=headers, kind="decode", trouble=trouble)
    if trouble in UNDECODABLE:
        name, broken = UNDECODABLE[trouble]
        present = {column: text for column, text in {**columns, name: broken}.items() if text is not None}
        key = str(json.loads(present["order_id"])).encode() if "order_id" in present else None
        return Event(key=key, value=to_json(present), headers=headers, kind="decode", trouble=trouble)
    if trouble == EVENT_BEFORE_ORDER:
        name, broken = "event_time", f'"{rfc3339(order.ordered_at - dt.timedelta(hours=1))}"'
    else:
        name, broken = UNLAWFUL[trouble]
    columns[name] = broken
    return Event(
        key=order.order_id.encode(),
        value=to_json(columns),
        headers=headers,
        kind="gate",
        event_time=columns["event_time"].strip('"'),
        trouble=trouble,
    )
