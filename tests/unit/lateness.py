"""How late messages of the small contract are, said by a plain loop over the topic."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.unit.lakes import EPOCH, Message, reading, tombstone

ALLOWED = dt.timedelta(minutes=10)
_UNIX_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def late(messages: Iterable[Message]) -> dict[tuple[int, int], int | None]:
    """By place, how many µs each message is late, or null; messages of one Kafka partition come in order."""
    return measured(messages)[0]


def newest(messages: Iterable[Message]) -> dict[tuple[int, str], dt.datetime]:
    """By Kafka partition and region, the newest event time, each capped at when its record was sent."""
    return measured(messages)[1]


def newest_us(messages: Iterable[Message]) -> dict[tuple[int, str], int]:
    """The same in µs since 1970, as tables keep it."""
    return {group: (at - _UNIX_EPOCH) // dt.timedelta(microseconds=1) for group, at in newest(messages).items()}


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


@st.composite
def topics(draw: st.DrawFn) -> list[Message]:
    """Events out of order, some of clocks that run ahead or behind, poison and deletes, over Kafka partitions and regions."""
    messages: list[Message] = []
    offsets: dict[int, int] = defaultdict(int)
    for kind, partition, region, at, ahead in draw(
        st.lists(
            st.tuples(
                st.sampled_from(["event", "event", "event", "poison", "delete"]),
                st.integers(0, 2),
                st.sampled_from(["eu", "us"]),
                st.integers(0, 60),
                st.integers(-30, 30),
            ),
            max_size=30,
        )
    ):
        offset = offsets[partition]
        offsets[partition] += 1
        if kind == "event":
            messages.append(event(offset, at, sent=at + ahead, region=region, partition=partition))
        elif kind == "delete":
            messages.append(tombstone(offset, at=at, partition=partition))
        else:
            messages.append(Message(offset=offset, payload=b"?", partition=partition))
    return messages
