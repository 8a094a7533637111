"""Kafka keys of events: the merge key, or a column that may be uneven, of which hot values are spread by a salt."""

from __future__ import annotations

import json
from collections.abc import Callable

from dagster_project.contract.model import Dataset
from dagster_project.sources.events import Event

# From an event and its place in the stream.
Keying = Callable[[int, Event], bytes | None]


def by_merge_key(_: int, event: Event) -> bytes | None:
    """What every version and every delete of a row has alike."""
    return event.key


def keying_of(dataset: Dataset) -> Keying:
    """How a dataset's events are keyed.

    With `hotKeys` by that column, so that what one visitor did stays in order. A declared value has a salt after it, which
    goes round by the place in the stream: the same stream has the same keys however often it is begun anew. What has no
    such value keeps its merge key.
    """
    hot = dataset.hot_keys
    if hot is None:
        return by_merge_key

    def key(number: int, event: Event) -> bytes | None:
        value = _value(event.value, hot.column)
        if value is None:
            return event.key
        return f"{value}|{number % hot.salts}".encode() if value in hot.values else value.encode()

    return key


def _value(text: bytes, column: str) -> str | None:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):  # poison
        return None
    value = row.get(column) if isinstance(row, dict) else None
    return str(value) if isinstance(value, (str, int)) else None
