"""What is told of an event: each step of its way, and where it is now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Stage = Literal[
    "produced",
    "bronze",
    "letter",
    "replayed",
    "quarantine",
    "released",
    "silver",
    "superseded",
    "gold",
    "cache",
    "gap",
    "lost",
    "expired",
    "forgotten",
]
# Where an event is that Bronze has not come to, or that was before the first to be read: no place of an account.
UNREAD, BEFORE = "unread", "before_start"


@dataclass(frozen=True, kw_only=True)
class Step:
    """Something that became of an event.

    Attributes:
        at: when, UTC; `None` where nobody knows any more, or where it has not come to pass yet.
        where: table (`silver/orders`) or topic.
        text: what happened, for people.
        version: of the table, that its commit made.
        run: id of the Dagster run that committed; empty where it was no run of Dagster, or the log does not say any more.
        facts: the same for programs, by names that depend on the stage alone.
    """

    stage: Stage
    at: dt.datetime | None
    where: str
    text: str
    version: int | None = None
    run: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One message of a topic and its way; of a dataset that is written in two major versions there is one for each.

    Attributes:
        dataset: name of its tables in Silver and quarantine.
        correlation_id: `None` where no row tells.
        kind: `event`, `poison` or `tombstone`; `None` where no row tells.
        key: the merge key, as Silver has it; empty where nothing tells.
        late_s: by how much it was late, `None` if it was in time.
        place: where it is, in the words of `lakehouse verify`; or `unread`, `before_start`.
        now: the same as a sentence.
        steps: in the order in which they came to pass; last those that are still to come.
    """

    dataset: str
    topic: str
    partition: int
    offset: int
    correlation_id: str | None = None
    kind: str | None = None
    key: Mapping[str, Any] = field(default_factory=dict)
    event_time: dt.datetime | None = None
    event_date: dt.date | None = None
    region: str | None = None
    late_s: float | None = None
    place: str
    now: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class Journey:
    """The answer to what was asked.

    Attributes:
        what: as it was asked for.
        events: all of it, in the order in which they were sent: versions of a key, replays, events with one correlation id.
        more: how many more there are than are told.
        notes: what could not be looked at, and why.
    """

    what: str
    events: tuple[Event, ...]
    more: int = 0
    notes: tuple[str, ...] = ()
