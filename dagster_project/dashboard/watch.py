"""What the page looks at, and the sections that it makes of what it saw."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dagster_project.contract.model import Catalog
from dagster_project.dashboard.board import spelled
from dagster_project.dashboard.facts import Reason
from dagster_project.dashboard.flow import Flow, flow
from dagster_project.dashboard.probe import Probe, Seen
from dagster_project.dashboard.rates import CommitReader, rates
from dagster_project.dashboard.tables import TableReader, Tables
from dagster_project.dashboard.topics import TopicReader
from dagster_project.dashboard.windows import ChartReader, StateReader, window_marts
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.settings import Settings
from dagster_project.topics.broker import Topic

# How often what changes all the time is looked at, and sent: what a person still takes for live.
EVERY_S = 2.0
# Reasons that are named; the others are counted.
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class About:
    """What does not change while the page is served."""

    project: str
    datasets: tuple[str, ...]
    marts: tuple[str, ...]
    window_marts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source:
    """When something was seen last, and since when it cannot be seen."""

    at: dt.datetime | None
    failing_since: dt.datetime | None
    error: str


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """What of a dataset was kept from Silver, by the most frequent reasons.

    Attributes:
        poison: messages that could not be decoded.
        quarantined: rows that broke a rule.
    """

    dataset: str
    poison: int
    quarantined: int
    poison_reasons: tuple[Reason, ...]
    rule_reasons: tuple[Reason, ...]


class Watch:
    """All probes of a project. Each has a thread, so a broker that is down delays nothing but what it is asked for."""

    def __init__(self, catalog: Catalog, *, settings: Settings) -> None:
        storage = Storage.at(settings.lake_uri)
        self._catalog = catalog
        self._about = About(
            project=settings.project.name,
            datasets=catalog.names(),
            marts=tuple(mart.name for mart in catalog.marts),
            window_marts=tuple(mart.name for mart in window_marts(catalog)),
        )
        layers = [
            *map(specs.bronze, catalog.datasets),
            *map(specs.silver, catalog.every_version()),
            *map(specs.gold, catalog.marts),
        ]
        self._topics = Probe("topics", TopicReader(catalog, settings=settings).read, every_s=EVERY_S)
        self._tables = Probe("tables", TableReader(catalog, storage=storage).read, every_s=EVERY_S)
        self._commits = Probe("commits", CommitReader(layers, storage=storage).read, every_s=EVERY_S)
        self._windows = Probe("windows", StateReader(catalog, storage=storage).read, every_s=EVERY_S)
        self._charts = Probe("charts", ChartReader(catalog, storage=storage).read, every_s=EVERY_S)
        self._probes: Mapping[str, Probe[Any]] = {
            "topics": self._topics,
            "tables": self._tables,
            "commits": self._commits,
            "windows": self._windows,
            "charts": self._charts,
        }
        self._made: dict[str, bytes] = {}

    def start(self) -> None:
        """Begin to look."""
        for probe in self._probes.values():
            probe.start()

    def wake(self) -> None:
        """Somebody watches: look for a while."""
        for probe in self._probes.values():
            probe.wake()

    def stop(self) -> None:
        """Look no more."""
        for probe in self._probes.values():
            probe.stop()

    def sections(self) -> dict[str, bytes]:
        """All sections as JSON, from what was seen last; null where that is nothing. Looks at nothing itself.

        A section that cannot be made stays as it was, and the source `page` says so.
        """
        tables, topics = self._tables.seen, self._topics.seen
        makers: dict[str, Callable[[], object]] = {
            "about": lambda: self._about,
            "flow": lambda: None if tables.value is None else flows(self._catalog, tables.value, topics),
            "troubles": lambda: None if tables.value is None else tables.value.troubles,
            "rejected": lambda: None if tables.value is None else rejected(tables.value),
            "held": lambda: None if tables.value is None else tables.value.held,
            "rates": lambda: _of(self._commits.seen, lambda commits: rates(commits, now=time.time())),
            "windows": lambda: self._windows.seen.value,
            "charts": lambda: self._charts.seen.value,
        }
        problems: list[str] = []
        for name, make in makers.items():
            try:
                self._made[name] = spelled(make())
            except Exception as error:  # noqa: BLE001 one section that fails must not take the others with it
                problems.append(f"{name}: {type(error).__name__}")
        sources = {name: _source(probe.seen) for name, probe in self._probes.items()}
        now = dt.datetime.now(dt.UTC)
        sources["page"] = Source(at=now, failing_since=now if problems else None, error="; ".join(problems))
        return {**self._made, "sources": spelled(sources)}


def flows(catalog: Catalog, tables: Tables, topics: Seen[Mapping[str, Topic | str]]) -> tuple[Flow, ...]:
    """The flow of each dataset whose tables can be read."""
    return tuple(
        flow(
            tables.facts[name],
            topics,
            marts=len(catalog.marts_of(name)),
            gold=tuple(tables.stocks[mart.name] for mart in catalog.marts_of(name) if mart.name in tables.stocks),
        )
        for name in catalog.names()
        if name in tables.facts
    )


def rejected(tables: Tables) -> tuple[Rejected, ...]:
    """By dataset what was kept from Silver, of those that have any."""
    return tuple(
        Rejected(
            dataset=name,
            poison=facts.poison,
            quarantined=facts.rejected,
            poison_reasons=facts.poison_reasons[:_NAMED],
            rule_reasons=facts.rule_reasons[:_NAMED],
        )
        for name, facts in tables.facts.items()
        if facts.poison or facts.rejected
    )


def _of(seen: Seen[Any], make: Callable[[Any], object]) -> object:
    return None if seen.value is None else make(seen.value)


def _source(seen: Seen[Any]) -> Source:
    return Source(at=seen.at, failing_since=seen.failing_since, error=seen.error)
