"""Poison: a fact's message, broken in one way that is known."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from dagster_project.sources.events import Event, Headers
from dagster_project.sources.poison import BROKEN_TEXT
from dagster_project.sources.retail.facts import Fact

# A column that no longer decodes, or does not say where the row belongs; `None` leaves it out.
UNDECODABLE: dict[str, tuple[str, object]] = {
    "event_time_missing": ("event_time", None),
    "event_time_invalid": ("event_time", "yesterday at noon"),
    "region_unknown": ("region", "mars"),
}
# Of each dataset, a column that decodes, but breaks a rule of the contract.
UNLAWFUL: dict[str, dict[str, tuple[str, object]]] = {
    "customers": {"segment_unknown": ("segment", "whale"), "country_invalid": ("country", "Atlantis")},
    "orders": {
        "status_unknown": ("status", "refunded"),
        "amount_negative": ("amount", -1),
        "items_empty": ("items", []),
    },
    "payments": {"amount_zero": ("amount", 0), "kind_unknown": ("kind", "gift"), "sequence_zero": ("sequence", 0)},
    "page_views": {"page_unknown": ("page", "attic"), "duration_negative": ("duration_ms", -1)},
}
# These need no columns, which a delete has none of; the text of one among them is an order's alone.
_TEXTS = tuple(name for name in BROKEN_TEXT if name != "broken_utf8")


def poison(rng: Random, dataset: str, fact: Fact, *, headers: Headers) -> Event:
    """The message of a fact once more, broken; the key is as it was."""
    text = fact.value or b"{}"
    broken: dict[str, tuple[str, object]] = {} if fact.value is None else UNDECODABLE | UNLAWFUL[dataset]
    trouble = rng.choice((*_TEXTS, *broken))
    if trouble in BROKEN_TEXT:
        return Event(key=fact.key, value=BROKEN_TEXT[trouble](text), headers=headers, kind="decode", trouble=trouble)
    columns: dict[str, Any] = json.loads(text)
    name, value = broken[trouble]
    columns[name] = value
    if value is None:
        del columns[name]
    unlawful = trouble in UNLAWFUL[dataset]
    return Event(
        key=fact.key,
        value=json.dumps(columns, ensure_ascii=False).encode(),
        headers=headers,
        kind="gate" if unlawful else "decode",
        event_time=fact.time if unlawful else None,
        trouble=trouble,
    )
