"""What the page looks at, and the sections that it makes of what it saw."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dagster_project.alerts.journal import open_alerts
from dagster_project.contract.model import Catalog
from dagster_project.cost.prices import load_prices
from dagster_project.dashboard.board import spelled
from dagster_project.dashboard.costs import read_costs
from dagster_project.dashboard.facts import Reason
from dagster_project.dashboard.flow import Flow, flow
from dagster_project.dashboard.levels import read_levels
from dagster_project.dashboard.probe import Probe, Seen
from dagster_project.dashboard.rates import CommitReader, rates
from dagster_project.dashboard.tables import TableReader, Tables
from dagster_project.dashboard.topics import TopicReader
from dagster_project.dashboard.windows import ChartReader, StateReader, window_marts
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.serving.cache import Cache
from dagster_project.serving.status import status as serving_status
from dagster_project.settings import Settings
from dagster_project.topics.broker import Topic

# How often what changes all the time is looked at, and sent: what a person still takes for live.
EVERY_S = 2.0
# Objectives are measured each 20 s.
_LEVELS_EVERY_S = 5.0
# Each materialization adds one row, and what a day has cost changes slowly.
_COSTS_EVERY_S = 20.0
# Reasons that are named, of each dataset.
_NAMED = 8
_T = TypeVar("_T")


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
        cache = Cache.of(settings)

        def every(name: str, look: Callable[[], _T], seconds: float = EVERY_S) -> Probe[_T]:
            probe = Probe(name, look, every_s=seconds)
            self._probes[name] = probe
            return probe

        self._probes: dict[str, Probe[Any]] = {}
        self._topics = every("topics", TopicReader(catalog, settings=settings).read)
        self._tables = every("tables", TableReader(catalog, storage=storage).read)
        self._commits = every("commits", CommitReader(layers, storage=storage).read)
        self._windows = every("windows", StateReader(catalog, storage=storage).read)
        self._charts = every("charts", ChartReader(catalog, storage=storage, cache=cache).read)
        self._cache = every("cache", lambda: serving_status(catalog, storage=storage, cache=cache))
        self._alerts = every("alerts", lambda: open_alerts(storage))
        self._levels = every(
            "levels", lambda: read_levels(catalog, storage=storage, now=dt.datetime.now(dt.UTC)), _LEVELS_EVERY_S
        )
        prices = load_prices(settings.prices)
        self._costs = every(
            "costs", lambda: read_costs(storage=storage, prices=prices, now=dt.datetime.now(dt.UTC)), _COSTS_EVERY_S
        )
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
            "cache": lambda: self._cache.seen.value,
            "cost": lambda: self._costs.seen.value,
            "alerts": lambda: self._alerts.seen.value,
            "levels": lambda: _of(self._levels.seen, lambda levels: levels.objectives),
            "latency": lambda: _of(self._levels.seen, lambda levels: levels.latency),
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
