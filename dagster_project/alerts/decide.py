"""The one place that decides which alerts begin, go on and end. Pure: the same state and time give the same answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dagster_project.alerts.alert import Alert, Condition, Id, correlation
from dagster_project.alerts.causes import root
from dagster_project.alerts.kinds import AWAY, KINDS, QUIET, REPEAT

_BURN = "slo-burn"
_SEVERITIES = ("warning", "critical")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look at the platform has found.

    Attributes:
        unknown: kinds of alerts that could not be looked at; those that are open stay so.
    """

    conditions: tuple[Condition, ...] = ()
    unknown: frozenset[str] = frozenset()

    @classmethod
    def nothing(cls, kinds: frozenset[str]) -> Seen:
        """These kinds could not be looked at."""
        return cls(unknown=kinds)

    @classmethod
    def together(cls, looks: Iterable[Seen]) -> Seen:
        """All that several looks have found."""
        found = tuple(looks)
        return cls(
            conditions=tuple(condition for item in found for condition in item.conditions),
            unknown=frozenset[str]().union(*(item.unknown for item in found)),
        )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Hold-downs that run. Losing it only begins them anew: an alert comes or ends later, never twice.

    Attributes:
        held: what is wrong and not raised, since when it was seen.
        clear: what is raised and no longer wrong, since when.
        looked_at: when somebody looked last.
        blind_until: until then burn rates are full of moments that nobody measured.
    """

    held: Mapping[Id, dt.datetime] = field(default_factory=dict)
    clear: Mapping[Id, dt.datetime] = field(default_factory=dict)
    looked_at: dt.datetime | None = None
    blind_until: dt.datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Transitions, causes before their effects, and what to remember."""

    transitions: tuple[Alert, ...]
    memory: Memory


def sighted(seen: Seen, memory: Memory, now: dt.datetime) -> tuple[Seen, Memory]:
    """What was seen, without burn rates where the machine was away, or the daemon: all of them burn then, and for that alone.

    What nobody measured counts as bad, and rightly so: the budgets show it. Raising it for each objective helps nobody.
    """
    away = memory.looked_at is not None and now - memory.looked_at > AWAY
    until = now + KINDS[_BURN].aftermath if away else memory.blind_until
    memory = replace(memory, looked_at=now, blind_until=until if until is not None and until > now else None)
    if memory.blind_until is None:
        return seen, memory
    conditions = tuple(condition for condition in seen.conditions if condition.alert != _BURN)
    return Seen(conditions=conditions, unknown=seen.unknown | {_BURN}), memory


def decide(known: Iterable[Alert], seen: Seen, memory: Memory, now: dt.datetime) -> Decision:
    """Compare what is wrong with the alerts that are open.

    Args:
        known: the newest transition of each alert, of those that are over at least those that ended lately.
    """
    newest = {alert.id: alert for alert in known}
    raised = {id_: alert for id_, alert in newest.items() if alert.is_open}
    wrong = _worst(seen.conditions)
    ended = {id_: now - alert.at for id_, alert in newest.items() if not alert.is_open}
    roots = {
        id_: root(id_, {*raised, *wrong, *(other for other, ago in ended.items() if ago < KINDS[id_.alert].aftermath)})
        for id_ in wrong
    }
    folded: dict[Id, list[str]] = {}
    for id_ in sorted(wrong.keys() - raised.keys()):
        if roots[id_] != id_:
            folded.setdefault(roots[id_], []).append(str(id_))
    held = {id_: memory.held.get(id_, now) for id_ in wrong.keys() - raised.keys()}
    since = {id_: min(filter(None, (wrong[id_].since, seen_at))) for id_, seen_at in held.items()}
    due = [id_ for id_ in held if roots[id_] == id_ and now - since[id_] >= KINDS[id_.alert].hold]
    clear = {
        id_: memory.clear.get(id_, now)
        for id_, alert in raised.items()
        if id_ not in wrong and alert.alert not in seen.unknown
    }
    begun = [
        _begun(wrong[id_], since[id_], _survived(id_, newest, since[id_]), folded.get(id_, []), now) for id_ in due
    ]
    gone_on = [_gone_on(raised[id_], wrong.get(id_), clear.get(id_), folded.get(id_, []), now) for id_ in raised]
    transitions = [*begun, *filter(None, gone_on)]
    transitions.sort(key=lambda alert: (list(KINDS).index(alert.alert), alert.id))
    over = {alert.id for alert in transitions if not alert.is_open}
    return Decision(
        transitions=tuple(transitions),
        memory=replace(
            memory,
            # What could not be looked at may still be wrong: its time goes on.
            held={
                **{id_: since for id_, since in memory.held.items() if id_.alert in seen.unknown and id_ not in raised},
                **{id_: seen_at for id_, seen_at in held.items() if id_ not in due},
            },
            clear={id_: seen_at for id_, seen_at in clear.items() if id_ not in over},
        ),
    )


def _worst(conditions: Iterable[Condition]) -> dict[Id, Condition]:
    """One condition for each alert, the worst, whatever their order."""
    found: dict[Id, Condition] = {}
    for condition in sorted(conditions, key=lambda item: (_SEVERITIES.index(item.severity), item.summary)):
        found[condition.id] = condition
    return found


def _survived(id_: Id, newest: Mapping[Id, Alert], since: dt.datetime) -> str:
    """The cause through which something has lasted, and beyond the time that it may take to end after it."""
    cause = root(id_, [other for other, alert in newest.items() if not alert.is_open and alert.at >= since])
    return "" if cause == id_ else str(cause)


def _begun(condition: Condition, since: dt.datetime, cause: str, folded: list[str], now: dt.datetime) -> Alert:
    return Alert(
        alert=condition.alert,
        scope=condition.scope,
        state="new",
        severity=condition.severity,
        at=now,
        since=since,
        told_at=now,
        summary=condition.summary,
        command=condition.command,
        correlation_id=correlation(condition, since),
        cause=cause,
        folded=tuple(folded),
    )


def _gone_on(
    alert: Alert, condition: Condition | None, clear: dt.datetime | None, folded: list[str], now: dt.datetime
) -> Alert | None:
    """The next transition of an open alert, or `None` while there is nothing to say or write."""
    known = tuple(sorted({*alert.folded, *folded}))
    if clear is not None and now - clear >= QUIET:
        return replace(alert, state="resolved", at=now, told_at=now, folded=known)
    worse = condition is not None and _SEVERITIES.index(condition.severity) > _SEVERITIES.index(alert.severity)
    tell = worse or (clear is None and now - alert.told_at >= REPEAT)
    if not tell and known == alert.folded:
        return None
    after = replace(alert, state="firing", at=now, told_at=now if tell else alert.told_at, folded=known)
    if condition is None:
        return after
    return replace(
        after,
        summary=condition.summary,
        command=condition.command,
        severity=condition.severity if worse else alert.severity,
    )
