"""Telling people: each sink gets what is for it in order, at least once, and none waits for another."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import takewhile

from dagster_project.alerts.alert import Alert
from dagster_project.alerts.book import Book, Progress
from dagster_project.alerts.config import Config
from dagster_project.alerts.message import message
from dagster_project.errors import SinkError

# After a failure 10, 20, 40, … seconds, and never more than five minutes: what is broken at 3 a.m. is heard of by 3:05.
_FIRST_S, _MOST_S = 10.0, 300.0
# Whoever has committed a transition tells it at once. Another one, which finds it untold, waits for as long as that may take,
# so that of two that look at the same time one tells.
LEASE = dt.timedelta(seconds=30)
# A sink's share of a tick, of whose 60 s the look at the platform has its own: one that is slow goes on at the next.
_SECONDS = 15.0

Wanted = Callable[[str, Alert], bool]


def deliver(
    book: Book, own: Sequence[Alert], config: Config, *, wanted: Wanted, now: dt.datetime
) -> dict[str, Progress]:
    """Tell all sinks what they have not been told; returns how far those have got that have moved or failed.

    Args:
        book: with the committed transitions.
        own: transitions that this one has committed itself, just now.
        wanted: whether a sink is to hear of an alert.
    """
    mine = {alert.sequence for alert in own}
    due = {
        name: [alert for alert in book.untold if alert.sequence > progress.told]
        for name, progress in book.sinks.items()
        if name in config.sinks and now.timestamp() * 1000 >= progress.retry_ms
    }
    # In order: what another one is about to tell holds up what comes after it.
    due = {
        name: list(takewhile(lambda alert, name=name: _may(alert, mine, book.sinks[name], now), alerts))
        for name, alerts in due.items()
    }
    due = {name: alerts for name, alerts in due.items() if alerts}
    if not due:
        return {}

    def tell(name: str, alert: Alert) -> None:
        if alert.is_told and wanted(name, alert):
            config.sinks[name].send(message(alert, runbooks=config.runbooks))

    with ThreadPoolExecutor(len(due), thread_name_prefix="sink") as pool:
        done = {
            name: pool.submit(_moved, partial(tell, name), alerts, book.sinks[name], now)
            for name, alerts in due.items()
        }
    return {name: future.result() for name, future in done.items()}


def _may(alert: Alert, mine: set[int], progress: Progress, now: dt.datetime) -> bool:
    # After a failure whoever tried has said so, and it is anybody's turn.
    return alert.sequence in mine or bool(progress.tries) or now - alert.at >= LEASE


def _moved(tell: Callable[[Alert], None], alerts: Sequence[Alert], progress: Progress, now: dt.datetime) -> Progress:
    """How far a sink has got with these alerts."""
    told, deadline = progress.told, time.monotonic() + _SECONDS
    for alert in alerts:
        if time.monotonic() > deadline:
            break
        try:
            tell(alert)
        except SinkError as error:
            wait = min(_FIRST_S * 2**progress.tries, _MOST_S)
            retry_ms = int((now.timestamp() + wait) * 1000)
            return Progress(told=told, tries=progress.tries + 1, retry_ms=retry_ms, problem=error.found)
        told = alert.sequence
    return Progress(told=told)


def troubles(sinks: Mapping[str, Progress]) -> list[str]:
    """Sinks that do not take what they are sent, in words."""
    return [
        f"sink {name} has failed {item.tries} times in a row, next try at "
        f"{dt.datetime.fromtimestamp(item.retry_ms / 1000, dt.UTC):%H:%M:%S} UTC: {item.problem}"
        for name, item in sinks.items()
        if item.tries
    ]
