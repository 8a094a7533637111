"""The state of all alerts, and how far each sink has got with telling of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from dagster_project.alerts.alert import Alert
from dagster_project.alerts.kinds import LINGER


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far one sink has got.

    Attributes:
        told: the last transition that it has taken.
        tries: in a row that have failed since.
        retry_ms: when it is tried next, since the epoch; 0 where nothing has failed.
        problem: why it failed, for people.
    """

    told: int
    tries: int = 0
    retry_ms: int = 0
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Book:
    """All that is to be known for deciding and telling.

    Attributes:
        alerts: the newest transition of each alert that is open, or was lately.
        untold: transitions that some sink has not taken yet, in their order.
        sequence: of the newest transition.
        sinks: those in use.
    """

    alerts: tuple[Alert, ...] = ()
    untold: tuple[Alert, ...] = ()
    sequence: int = 0
    sinks: Mapping[str, Progress] = field(default_factory=dict)

    @property
    def open(self) -> tuple[Alert, ...]:
        """Alerts that are open: the critical ones first, then the oldest."""
        found = (alert for alert in self.alerts if alert.is_open)
        return tuple(sorted(found, key=lambda alert: (alert.severity != "critical", alert.since, alert.id)))

    def using(self, sinks: Collection[str]) -> Book:
        """The book with these sinks in use; one that was never used begins with what comes next."""
        return replace(self, sinks={name: self.sinks.get(name, Progress(told=self.sequence)) for name in sinks})

    def numbered(self, transitions: Iterable[Alert]) -> tuple[Alert, ...]:
        """Transitions with the numbers that follow."""
        return tuple(replace(alert, sequence=number) for number, alert in enumerate(transitions, self.sequence + 1))

    def after(self, transitions: Iterable[Alert], sinks: Mapping[str, Progress]) -> Book:
        """The book once these transitions are in it, and these sinks have got so far."""
        added, progress = self.numbered(transitions), {**self.sinks, **sinks}
        least = min((item.told for item in progress.values()), default=self.sequence + len(added))
        return Book(
            alerts=newest((*self.alerts, *added)),
            untold=tuple(alert for alert in (*self.untold, *added) if alert.sequence > least),
            sequence=self.sequence + len(added),
            sinks=progress,
        )


def newest(rows: Sequence[Alert]) -> tuple[Alert, ...]:
    """The newest transition of each alert that is open, or ended lately enough to explain others, in the order of rows."""
    if not rows:
        return ()
    # Twice as long: what outlives its cause still names it.
    since = max(alert.at for alert in rows) - 2 * LINGER
    last = {alert.id: alert for alert in rows}
    return tuple(alert for alert in last.values() if alert.is_open or alert.at >= since)
