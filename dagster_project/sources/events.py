"""One event: the Kafka record to be sent, and what its maker knows about it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal

# valid: a good row, perhaps late. delete: a tombstone. duplicate: an earlier record once more. decode, gate: poison,
# quarantined at that stage. sample: written by hand, so nobody but the platform judges it.
Kind = Literal["valid", "delete", "duplicate", "decode", "gate", "sample"]
Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A Kafka record and the verdict that the platform must reach about it.

    Attributes:
        key: the merge key; `None` where the event has none.
        value: JSON text, or whatever a broken producer sent in its place; nothing of a delete.
        event_time: RFC 3339, as in the value; of a delete, when it happened; `None` where there is no usable one.
        late: further behind the newest event time sent so far than the contract allows; the row is kept all the same.
        trouble: what is wrong with poison, in a word.
        deletes: it has no payload at all, which is not an empty one.
        sent_at: the record's timestamp, in ms since the epoch; 0 is the moment of sending.
    """

    key: bytes | None
    value: bytes
    headers: Headers
    kind: Kind
    event_time: str | None = None
    late: bool = False
    trouble: str = ""
    deletes: bool = False
    sent_at: int = 0


def join_key(values: Iterable[object]) -> bytes:
    """The Kafka key of an event: its merge key's values in key order, so that a key stays in one Kafka partition."""
    return "|".join(map(str, values)).encode()


def rfc3339(moment: dt.datetime) -> str:
    """A UTC moment as text, to the microsecond."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def headers(*, stream: str, version: str) -> Iterator[Headers]:
    """Headers of a stream's first, second, ... event: a correlation id, the same in every run, and the schema version.

    The id is a UUID whose last 12 digits count the events; the digits before them belong to the stream.
    """
    stream_digits = str(uuid.uuid5(uuid.NAMESPACE_URL, stream))[:-12].encode()
    schema_version = ("schema_version", version.encode())
    for index in count():
        yield ("correlation_id", b"%b%012x" % (stream_digits, index)), schema_version
