"""Cursors that belong to a table partition: their names, and what they say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from dagster_project.lake.keys import Key

_NONE = "none"
# Before the name of a cursor: where a table partition would be if it had not been held back.
HELD = "held/"


def cursor_name(prefix: str, key: Key) -> str:
    """Name of a cursor that belongs to a table partition."""
    return "/".join([prefix, key.date.isoformat() if key.date else _NONE, *([key.region] if key.region else [])])


def cursor_keys(cursors: Mapping[str, int], prefix: str) -> dict[Key, int]:
    """The cursors of a prefix, by table partition."""
    found: dict[Key, int] = {}
    for name, value in cursors.items():
        if name.startswith(f"{prefix}/"):
            date, _, region = name.removeprefix(f"{prefix}/").partition("/")
            found[Key(None if date == _NONE else dt.date.fromisoformat(date), region or None)] = value
    return found


def batch_of(through: Mapping[Key, int]) -> dict[str, int]:
    """The last Bronze batch that a commit takes in, for people to read in it; nothing where there is none."""
    return {"batch_id": max(through.values())} if through else {}


def judged(cursors: Mapping[str, int]) -> dict[str, int]:
    """Cursors as if what is held back had been published: what needs no other look before its inputs change."""
    held = {name.removeprefix(HELD): value for name, value in cursors.items() if name.startswith(HELD) and value >= 0}
    return {**cursors, **held}
