"""Kafka keys of events: the merge key, or a column that may be uneven, of which hot values are spread by a salt."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable

from dagster_project.contract.model import Dataset
from dagster_project.sources.events import Event

Keying = Callable[[Event], bytes | None]


def by_merge_key(event: Event) -> bytes | None:
    """What every version and every delete of a row has alike."""
    return event.key


def keying_of(dataset: Dataset) -> Keying:
    """How a dataset's events are keyed.

    With `hotKeys` by that column, so that what one visitor did stays in order. A declared value has a salt after it, a hash
    of the event's merge key: so copies of an event, however often it is sent, are in one Kafka partition. What has no such
    value keeps its merge key.
    """
    hot = dataset.hot_keys
    if hot is None:
        return by_merge_key

    def key(event: Event) -> bytes | None:
        value = _value(event.value, hot.column)
        if value is None:
            return event.key
        if value not in hot.values:
            return value.encode()
        return f"{value}|{zlib.crc32(event.key or event.value) % hot.salts}".encode()

    return key


def _value(text: bytes, column: str) -> str | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):  # poison
        return None
    value = row.get(column) if isinstance(row, dict) else None
    return str(value) if isinstance(value, (str, int)) else None
