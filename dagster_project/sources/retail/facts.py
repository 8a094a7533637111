"""Facts: what happened in the world, and how those who tell of it spell the time."""

from __future__ import annotations

import datetime as dt
from random import Random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from dagster_project.sources.events import rfc3339

ZONES = {"eu": ZoneInfo("Europe/Berlin"), "us": ZoneInfo("America/New_York"), "apac": ZoneInfo("Asia/Tokyo")}
# One in twenty writes local time with its offset; the others UTC.
LOCAL = 0.05
MICROSECOND, MILLISECOND, SECOND = (dt.timedelta(**{unit: 1}) for unit in ("microseconds", "milliseconds", "seconds"))


class Fact(NamedTuple):
    """What happened, and from when on the world can know it.

    Attributes:
        at: event time.
        known: when it can be sent at the earliest; the event time unless something holds it back.
        value: JSON text; `None` is a delete.
        time: the event time as the value spells it.
    """

    at: dt.datetime
    known: dt.datetime
    key: bytes
    value: bytes | None
    time: str


# Facts of one thing, none of which was known before the moment that stands before them.
Told = tuple[dt.datetime, list[Fact]]


def spelled(at: dt.datetime, zone: ZoneInfo | None) -> str:
    """RFC 3339 to the microsecond: local time with its offset, or UTC."""
    return rfc3339(at) if zone is None else at.astimezone(zone).isoformat(timespec="microseconds")


def zone_of(rng: Random, region: str) -> ZoneInfo | None:
    """Whether somebody writes local time, and which."""
    return ZONES[region] if rng.random() < LOCAL else None
