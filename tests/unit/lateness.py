"""How late messages of the small contract are, said by a plain loop over the topic."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tests.unit.lakes import EPOCH, Message, reading

ALLOWED = dt.timedelta(minutes=10)


def late(messages: Iterable[Message]) -> dict[tuple[int, int], int | None]:
    """By place, how many µs each message is late, or null; messages of one Kafka partition come in order."""
    return measured(messages)[0]


def newest(messages: Iterable[Message]) -> dict[tuple[int, str], dt.datetime]:
    """By Kafka partition and region, the newest event time, each capped at when its record was sent."""
    return measured(messages)[1]


def measured(
    messages: Iterable[Message],
) -> tuple[dict[tuple[int, int], int | None], dict[tuple[int, str], dt.datetime]]:
    found: dict[tuple[int, int], int | None] = {}
    reached: dict[tuple[int, str], dt.datetime] = {}
    for message in messages:
        place = (message.partition, message.offset)
        found[place] = None
        values = values_of(message)
        if values is None:
            continue
        at, group = dt.datetime.fromisoformat(values["at"]), (message.partition, values["region"])
        before = reached.get(group)
        if before is not None and before - at > ALLOWED:
            found[place] = (before - at) // dt.timedelta(microseconds=1)
        capped = min(at, message.sent)
        reached[group] = capped if before is None or capped > before else before
    return found, reached


def values_of(message: Message) -> Mapping[str, Any] | None:
    if message.payload is None or message.payload == b"?":
        return None
    return json.loads(message.payload)


def event(offset: int, at: float, *, sent: float | None = None, identity: str = "", **options: Any) -> Message:
    """An event of its own at a minute of the first day, sent in the same one unless said otherwise."""
    whole = reading(offset, identity or f"{options.get('partition', 0)}/{offset}", **options)
    assert whole.payload is not None
    moment = EPOCH + dt.timedelta(minutes=at)
    payload = json.dumps({**json.loads(whole.payload), "at": moment.isoformat()}).encode()
    return replace(whole, payload=payload, sent=moment if sent is None else EPOCH + dt.timedelta(minutes=sent))
