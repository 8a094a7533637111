"""Conditions as they are found, and time that passes in ticks."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

from dagster_project.alerts.alert import Alert, Condition, Severity
from dagster_project.alerts.decide import Memory, Seen, decide

START = dt.datetime(2026, 11, 23, 3, tzinfo=dt.UTC)
TICK = dt.timedelta(seconds=10)


def condition(alert: str, scope: str = "", *, severity: Severity = "critical", summary: str = "so it is") -> Condition:
    return Condition(alert=alert, scope=scope, summary=summary, severity=severity, command="lakehouse status")


@dataclass(kw_only=True)
class Desk:
    """Somebody who looks every ten seconds, and keeps what was decided."""

    now: dt.datetime = START
    known: dict[tuple[str, str], Alert] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    rows: list[Alert] = field(default_factory=list)

    def look(self, *conditions: Condition, unknown: frozenset[str] = frozenset()) -> tuple[Alert, ...]:
        decision = decide(self.known.values(), Seen(conditions=conditions, unknown=unknown), self.memory, self.now)
        self.memory = decision.memory
        self.known |= {alert.id: alert for alert in decision.transitions}
        self.rows += decision.transitions
        self.now += TICK
        return decision.transitions

    def last(self, seconds: float, *conditions: Condition, unknown: frozenset[str] = frozenset()) -> None:
        """Look while the same is wrong."""
        for _ in range(round(seconds / TICK.total_seconds())):
            self.look(*conditions, unknown=unknown)

    def told(self) -> list[tuple[str, str]]:
        """What people heard of, in order."""
        return [(str(alert.id), alert.state) for alert in self.rows if alert.is_told]
