"""What is wrong, as it is seen at one moment, and the alert that it becomes once it has lasted."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Severity = Literal["warning", "critical"]
# new: it has begun. firing: it goes on. resolved: it is over.
State = Literal["new", "firing", "resolved"]

# From which what belongs to one alert gets its identifier: any will do, as long as it stays.
_NAMESPACE = uuid.UUID("8f7d3b52-3f0c-4f43-9a55-1d0b6c1f9f0a")


class Id(NamedTuple):
    """What an alert is about: its kind, and the dataset, region, objective or job; of the whole platform an empty scope."""

    alert: str
    scope: str

    def __str__(self) -> str:
        return f"{self.alert} {self.scope}".strip()


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Something that is wrong now.

    Attributes:
        scope: what of the platform, parts with slashes between them: `orders/eu/freshness`; empty: all of it.
        summary: what is wrong, in figures, for people.
        command: what shows more of it.
        since: when it began, where committed state says so; else it began when it was seen first.
        correlation_id: of the event or run that it is about; empty: the alert gets one of its own.
    """

    alert: str
    scope: str = ""
    summary: str
    severity: Severity
    command: str
    since: dt.datetime | None = None
    correlation_id: str = ""

    @property
    def id(self) -> Id:
        return Id(self.alert, self.scope)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert as of one transition: all that there is to know of it.

    Attributes:
        at: when this transition was decided.
        since: when what is wrong began.
        told_at: when people were told last; with `at` it is one, this transition is to be told.
        cause: the alert that this one is left over from; empty: none is known.
        folded: what follows from it, and is not raised by itself meanwhile.
        sequence: of all transitions, from 1 on; 0 before it is written.
    """

    alert: str
    scope: str
    state: State
    severity: Severity
    at: dt.datetime
    since: dt.datetime
    told_at: dt.datetime
    summary: str
    command: str
    correlation_id: str
    cause: str = ""
    folded: tuple[str, ...] = ()
    sequence: int = 0

    @property
    def id(self) -> Id:
        return Id(self.alert, self.scope)

    @property
    def is_open(self) -> bool:
        return self.state != "resolved"

    @property
    def is_told(self) -> bool:
        """Whether people hear of this transition; of what is only written down they do not."""
        return self.told_at == self.at

    @property
    def runbook(self) -> str:
        """The page that says what to do, from the root of the project."""
        return f"docs/runbooks/{self.alert}.md"

    @property
    def key(self) -> str:
        """Names this transition: what is delivered twice has the same one."""
        return str(uuid.uuid5(_NAMESPACE, f"{self.id} {self.since.isoformat()} {self.state} {self.at.isoformat()}"))

    @property
    def thread(self) -> str:
        """Names the alert from its beginning to its end: the same in all of its transitions, and in no other alert's."""
        return _thread(self.id, self.since)


def from_row(row: Mapping[str, Any]) -> Alert:
    """An alert of its fields by name, with a list where it has a tuple."""
    fields: dict[str, Any] = {**row, "folded": tuple(row["folded"])}
    return Alert(**fields)


def correlation(condition: Condition, since: dt.datetime) -> str:
    """What all notifications and log lines of one alert have in common."""
    return condition.correlation_id or _thread(condition.id, since)


def _thread(id_: Id, since: dt.datetime) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{id_} {since.isoformat()}"))
