"""A look at the platform: everything that can be wrong, whatever does not answer."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from dagster_project.alerts import conditions, probes
from dagster_project.alerts.alert import Condition
from dagster_project.alerts.arrivals import arrivals
from dagster_project.alerts.decide import Seen
from dagster_project.alerts.facts import Facts
from dagster_project.alerts.probes import LOOK_S, PROBE_S, Bounded, Probe
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import CacheError, LakehouseError
from dagster_project.ingest.horizon import horizons
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.watermarks import watermarks
from dagster_project.serving.cache import Cache
from dagster_project.serving.status import status as served
from dagster_project.slo.status import status

# What is looked at together, and so is unknown together.
_BUDGETS = frozenset({"lag", "slo-burn"})
_ARRIVALS = frozenset({"poison-rate", "schema-drift"})
_REGIONS = frozenset({"breaker-open", "silent-region"})
_SERVED = frozenset({"stale-cache"})
_LOSSES = frozenset({"time-to-loss"})
# Tables that are opened at once, as a store answers in tens of milliseconds.
_OPENED_AT_ONCE = 16
# Standing questions, by what is asked.
_ASKED: dict[str, Bounded[Seen]] = {}
_PROBED: dict[str, Bounded[Probe]] = {}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was found.

    Attributes:
        store_up: tables can be read and written.
    """

    seen: Seen
    store_up: bool


def look(
    catalog: Catalog, *, storage: Storage, servers: Callable[[], str], cache: Cache, facts: Facts, now: dt.datetime
) -> Look:
    """Look at everything, side by side; takes no longer than 15 s, whatever hangs.

    Args:
        servers: gives the bootstrap servers.
    """
    kafka, lake = _probed(partial(probes.broker, servers), partial(probes.store, storage), uri=storage.uri)
    found = [
        Seen(conditions=(*conditions.broker(kafka), *conditions.store(lake, uri=storage.uri))),
        _dagsters(facts),
    ]
    questions: list[tuple[str, frozenset[str], Callable[[], Seen]]] = [
        ("budgets", _BUDGETS, lambda: _budgets(catalog, storage, now)),
        ("datasets", _ARRIVALS | _REGIONS, lambda: _datasets(catalog, storage, now)),
        ("served", _SERVED, lambda: _served(catalog, storage, cache, now)),
        ("losses", _LOSSES, lambda: _losses(catalog, storage, servers()) if kafka.up else Seen.nothing(_LOSSES)),
    ]
    if not lake.up:
        found += (Seen.nothing(kinds) for _, kinds, _ in questions)
        return Look(seen=Seen.together(found), store_up=False)
    standing = [_ASKED.setdefault(f"{name} {storage.uri}", Bounded()) for name, _, _ in questions]
    for one, (_, _, question) in zip(standing, questions, strict=True):
        one.ask(question)
    deadline = time.monotonic() + LOOK_S
    found += (_answered(one, kinds, deadline) for one, (_, kinds, _) in zip(standing, questions, strict=True))
    return Look(seen=Seen.together(found), store_up=True)


def _probed(*questions: Callable[[], Probe], uri: str) -> list[Probe]:
    standing = [_PROBED.setdefault(f"{number} {uri}", Bounded()) for number in range(len(questions))]
    for one, question in zip(standing, questions, strict=True):
        one.ask(question)
    deadline = time.monotonic() + PROBE_S
    return [_probe(one, deadline) for one in standing]


def _probe(asked: Bounded[Probe], deadline: float) -> Probe:
    try:
        return asked.answer(deadline)
    except TimeoutError:
        return Probe(seconds=PROBE_S, found=f"no answer within {PROBE_S:g} s")


def _answered(asked: Bounded[Seen], kinds: frozenset[str], deadline: float) -> Seen:
    try:
        return asked.answer(deadline)
    except (TimeoutError, LakehouseError):
        return Seen.nothing(kinds)


def _dagsters(facts: Facts) -> Seen:
    return Seen(
        conditions=(*conditions.failed(facts.runs), *conditions.unbalanced(facts.imbalances)),
        unknown=frozenset({"ledger-imbalance"} if facts.checking else ()),
    )


def _budgets(catalog: Catalog, storage: Storage, now: dt.datetime) -> Seen:
    return Seen(conditions=tuple(conditions.budgets(status(catalog, storage=storage, now=now))))


def _served(catalog: Catalog, storage: Storage, cache: Cache, now: dt.datetime) -> Seen:
    if not cache.there or not any(mart.serve for mart in catalog.marts):
        return Seen()
    try:  # before Gold is looked at, which takes a while in a slow store
        cache.ask(lambda client: client.ping())
    except CacheError as error:
        return Seen(conditions=tuple(conditions.cache(error, since=cache.since)))
    found = served(catalog, storage=storage, cache=cache)
    return Seen(conditions=tuple(conditions.served(found, catalog, now=now)))


def _losses(catalog: Catalog, storage: Storage, servers: str) -> Seen:
    found = horizons(catalog.datasets, storage=storage, bootstrap_servers=servers)
    unknown = any(horizon.state == "unknown" for horizon in found)
    return Seen(conditions=tuple(conditions.losses(found)), unknown=_LOSSES if unknown else frozenset())


def _datasets(catalog: Catalog, storage: Storage, now: dt.datetime) -> Seen:
    """Of each dataset by itself, so that one table that cannot be read hides no other's trouble."""
    with ThreadPoolExecutor(_OPENED_AT_ONCE) as pool:
        return Seen.together(
            [
                *pool.map(lambda dataset: _known(_ARRIVALS, _arrived(dataset, storage, now)), catalog.datasets),
                *pool.map(lambda version: _known(_REGIONS, _regions(version, storage)), catalog.every_version()),
            ]
        )


def _known(kinds: frozenset[str], found: Iterator[Condition]) -> Seen:
    try:
        return Seen(conditions=tuple(found))
    except LakehouseError:
        return Seen.nothing(kinds)


def _arrived(dataset: Dataset, storage: Storage, now: dt.datetime) -> Iterator[Condition]:
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is not None:
        yield from conditions.arrived(dataset, arrivals(bronze), now=now)


def _regions(version: Dataset, storage: Storage) -> Iterator[Condition]:
    silver = Table.find(specs.silver(version), storage=storage)
    if silver is not None:
        yield from conditions.held(version, silver.cursors())
        yield from conditions.silent(version, watermarks(version, silver))
