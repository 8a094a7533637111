"""Events that are broken: a sound event's JSON text, spoilt in one way."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

Spoiler = Callable[[bytes], bytes]


def _sub(pattern: bytes, replacement: bytes) -> Spoiler:
    return partial(re.compile(pattern).sub, replacement, count=1)


def _before_its_order(text: bytes) -> bytes:
    """An event of last year, and of an order of its own: as an older version of a known one nobody would miss it."""
    begin = text.index(b'"order_id":"') + len(b'"order_id":"')
    end = text.index(b'"', begin)
    other = text[:begin] + text[begin:end][::-1] + text[end:]
    return re.sub(rb'"event_time":"\d{4}', b'"event_time":"2025', other, count=1)


# What no reader can make a row of the contract of.
POISON: Mapping[str, Spoiler] = {
    "truncated": lambda text: text[: len(text) // 2],
    "not_an_object": lambda text: b"[" + text + b"]",
    "amount_text": _sub(rb'"amount":[\d.]+', b'"amount":"abc"'),
    "broken_utf8": _sub(rb'"customer_id":"', b'"customer_id":"\xff\xfe'),
    "region_unknown": _sub(rb'"region":"\w+"', b'"region":"mars"'),
}
# Rows that break a rule of the contract.
UNLAWFUL: Mapping[str, Spoiler] = {
    "quantity_zero": _sub(rb'"quantity":\d+', b'"quantity":0'),
    "amount_negative": _sub(rb'"amount":', b'"amount":-'),
    "status_unknown": _sub(rb'"status":"\w+"', b'"status":"refunded"'),
    "items_empty": _sub(rb'"items":\[.*?\]', b'"items":[]'),
    "sku_invalid": _sub(rb'"sku":"[^"]+"', b'"sku":"no such sku!"'),
    "event_before_order": _before_its_order,
}


def spoil(texts: Sequence[bytes], spoilers: Mapping[str, Spoiler], numbers: Sequence[int]) -> list[bytes]:
    """Spoil each text in one way; its number says which, so that all ways come in turn."""
    ways = list(spoilers.values())
    return [ways[number % len(ways)](text) for text, number in zip(texts, numbers, strict=True)]
