"""What a person reads of a transition: what happened, since when, what it means, and what to do."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from dagster_project.alerts.alert import Alert
from dagster_project.alerts.kinds import KINDS

_STATES = {"new": "FIRING", "firing": "STILL FIRING", "resolved": "RESOLVED"}
# Effects that are named; more are told by their number. A message on a phone has some twenty lines.
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Message:
    """One transition, ready to be sent; every sink lays it out in its own way.

    Attributes:
        key: the same whenever the same transition is sent: whoever gets two with one key may drop the second.
        thread: the same for all transitions of one alert.
        title: in one line.
        facts: by name, in the order in which they are read.
    """

    key: str
    thread: str
    title: str
    facts: dict[str, str]
    alert: Alert

    @property
    def text(self) -> str:
        return "\n".join([self.title, "", *(f"{name}: {value}" for name, value in self.facts.items())])


def message(alert: Alert, *, runbooks: str = "") -> Message:
    """Say a transition.

    Args:
        runbooks: where the project's `docs/runbooks` are shown, a URL; empty: the path in the project.
    """
    folded = ", ".join(alert.folded[:_NAMED])
    if len(alert.folded) > _NAMED:
        folded += f", and {len(alert.folded) - _NAMED} more"
    runbook = f"{runbooks.rstrip('/')}/{alert.alert}.md" if runbooks else alert.runbook
    facts = {
        "what": alert.summary,
        "since": f"{_moment(alert.since)}, for {dt.timedelta(seconds=round((alert.at - alert.since).total_seconds()))}",
        "impact": KINDS[alert.alert].meaning,
        "look": alert.command,
        "runbook": runbook,
        "left over from": alert.cause,
        "follows from it": folded,
        "correlation id": alert.correlation_id,
    }
    if not alert.is_open:
        facts = {"what was": facts.pop("what"), **facts, "over at": _moment(alert.at)}
    return Message(
        key=alert.key,
        thread=alert.thread,
        title=f"{_STATES[alert.state]} ({alert.severity}): {alert.id}",
        facts={name: value for name, value in facts.items() if value},
        alert=alert,
    )


def _moment(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
