"""What is wrong, from state that others have committed or evaluated. Pure functions, one for each kind of fact."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from dagster_project.alerts.alert import Condition
from dagster_project.alerts.arrivals import WINDOW, Arrival
from dagster_project.alerts.facts import FailedRun, Imbalance
from dagster_project.alerts.probes import SLOW_S, Probe
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import CacheError
from dagster_project.ingest.horizon import Horizon
from dagster_project.refine.holds import Hold, holds
from dagster_project.refine.watermarks import Watermark
from dagster_project.serving.status import Status
from dagster_project.slo.budget import BURNING
from dagster_project.slo.status import Objective

# One broken message now and then is what dead-letter queues are for; some within two minutes are a producer.
_POISON = 5
# A run publishes within its own second, and a sensor each five what it could not.
_BEHIND = dt.timedelta(seconds=30)
# Table partitions that a summary names.
_NAMED = 3


def broker(probe: Probe) -> Iterator[Condition]:
    """Kafka does not answer."""
    if not probe.up:
        yield Condition(
            alert="broker-down",
            summary=f"Kafka does not answer: {probe.found}",
            severity="critical",
            command="lakehouse status",
        )


def store(probe: Probe, *, uri: str) -> Iterator[Condition]:
    """The store does not answer, or takes long for it."""
    if not probe.up:
        yield Condition(
            alert="store-down",
            summary=f"the store at {uri} does not answer: {probe.found}; alerts are kept on this machine meanwhile",
            severity="critical",
            command="lakehouse status",
        )
    elif probe.seconds > SLOW_S:
        yield Condition(
            alert="slow-store",
            summary=f"the store at {uri} took {probe.seconds:.1f} s to list a folder, {SLOW_S:g} s are long",
            severity="warning",
            command="lakehouse status",
        )


def budgets(objectives: Iterable[Objective]) -> Iterator[Condition]:
    """Error budgets that burn too fast, and lag that is beyond its bound now."""
    for item in objectives:
        scope = "/".join(filter(None, (item.dataset, item.region, item.name)))
        command = f"lakehouse slo {item.dataset}"
        if item.burning:
            rates = ", ".join(f"{rate:.1f} over {window}" for window, rate in item.burn.items())
            yield Condition(
                alert="slo-burn",
                scope=scope,
                summary=f"{item.name} is {_value(item.value, item)}, promised is {_value(item.bound, item)} for "
                f"{item.target:.4g} of it; {item.budget_left:.0%} of the error budget is left, and it burns at {rates}",
                severity="critical" if _is_fast(item.burn) else "warning",
                command=command,
            )
        if item.name == "lag_seconds" and item.value is not None and item.bound is not None and item.value > item.bound:
            yield Condition(
                alert="lag",
                scope=item.dataset,
                summary=f"Bronze is {item.value:.0f} s behind Kafka, {item.bound:.0f} s are allowed",
                severity="warning",
                command=f"lakehouse lag --dataset {item.dataset}",
            )


def losses(horizons: Iterable[Horizon]) -> Iterator[Condition]:
    """Events that the broker has deleted unread, or soon may."""
    for horizon in horizons:
        if horizon.state in {"soon", "lost"}:
            left = "" if horizon.seconds is None else f", in {max(horizon.seconds, 0):.0f} s at the earliest"
            yield Condition(
                alert="time-to-loss",
                scope=horizon.dataset,
                summary=f"{horizon.found}{left}; to do: {horizon.to_do}",
                severity="critical" if horizon.state == "lost" else "warning",
                command=f"lakehouse lag --dataset {horizon.dataset}",
            )


def held(dataset: Dataset, cursors: Mapping[str, int]) -> Iterator[Condition]:
    """Regions of which the gate holds something back: all of them, or table partitions."""
    found = sorted(holds(cursors).values(), key=lambda hold: (hold.scope.region or "", str(hold.scope)))
    for region, own in groupby(found, key=lambda hold: hold.scope.region or ""):
        kept = list(own)
        breaker = any(hold.scope.date is None for hold in kept)
        yield Condition(
            alert="breaker-open",
            scope=f"{dataset.table}/{region}",
            summary=f"the breaker of {region} is open: too many of its rows are bad"
            if breaker
            else f"{len(kept)} table partitions break a rule and are held back: {_scopes(kept)}",
            severity="critical" if breaker else "warning",
            command=f"lakehouse quarantine list {dataset.table}",
            since=_moment(min(hold.since_ms for hold in kept)),
        )


def silent(dataset: Dataset, watermarks: Mapping[str, Watermark]) -> Iterator[Condition]:
    """Regions that others have gone on without."""
    for region, watermark in watermarks.items():
        if watermark.silent:
            yield Condition(
                alert="silent-region",
                scope=f"{dataset.table}/{region}",
                summary=f"no events of {region} after {watermark.at:%Y-%m-%d %H:%M:%S} UTC by event time; the others are "
                f"more than {dataset.idle_after} further",
                severity="warning",
                command=f"lakehouse watermarks {dataset.table}",
            )


def arrived(dataset: Dataset, arrivals: Sequence[Arrival], *, now: dt.datetime) -> Iterator[Condition]:
    """Messages that cannot be decoded, by what came lately; unknown fields, by what came last, for as long as nothing else does."""
    recent = [item for item in arrivals if item.at > now - WINDOW]
    poison, rows = sum(item.poison for item in recent), sum(item.rows for item in recent)
    if poison >= _POISON and poison > dataset.max_bad_rate * rows:
        yield Condition(
            alert="poison-rate",
            scope=dataset.name,
            summary=f"{poison:,} of {rows:,} messages ({poison / rows:.1%}) within {WINDOW.seconds // 60} minutes could not "
            f"be decoded, the contract reckons with {dataset.max_bad_rate:.1%}",
            severity="critical",
            command=f"lakehouse dlq list {dataset.name}",
            since=min(item.at for item in recent if item.poison),
        )
    drifted, rows = sum(item.drifted for item in arrivals), sum(item.rows for item in arrivals)
    if drifted:
        yield Condition(
            alert="schema-drift",
            scope=dataset.name,
            summary=f"{drifted:,} of the last {rows:,} messages have fields that the contract does not know",
            severity="warning",
            command=f'lakehouse query "SELECT _rescued FROM bronze.{dataset.name} WHERE _rescued IS NOT NULL LIMIT 5"',
            since=min(item.at for item in arrivals if item.drifted),
        )


def cache(error: CacheError, *, since: dt.datetime | None) -> Iterator[Condition]:
    """The cache does not answer."""
    yield Condition(
        alert="stale-cache",
        summary=f"{error.found}; readers get Gold's rows",
        severity="warning",
        command="lakehouse serve status",
        since=since,
    )


def served(found: Status, catalog: Catalog, *, now: dt.datetime) -> Iterator[Condition]:
    """Marts of which the cache is without what Gold has."""
    for copy in found.marts if found.state == "available" else ():
        if not copy.current and copy.behind_since is not None and now - copy.behind_since > _BEHIND:
            origin = min(catalog.origins(catalog.mart(copy.mart)), default="")
            yield Condition(
                alert="stale-cache",
                scope="/".join(filter(None, (origin, copy.mart))),
                summary=f"the cache has version {copy.cached} of {copy.mart}, Gold has had version {copy.gold} since "
                f"{copy.behind_since:%Y-%m-%d %H:%M:%S} UTC",
                severity="warning",
                command="lakehouse serve status",
                since=copy.behind_since,
            )


def failed(runs: Iterable[FailedRun]) -> Iterator[Condition]:
    """Work whose last run has failed."""
    for run in runs:
        yield Condition(
            alert="failed-run",
            scope=f"{run.owner}/{run.work}",
            summary=f"the last run of {run.job} has failed ({run.run_id[:8]}): {run.error}",
            severity="warning",
            command=f"dagster run list, or the page of run {run.run_id}",
            since=run.at,
            correlation_id=run.run_id,
        )


def unbalanced(found: Iterable[Imbalance]) -> Iterator[Condition]:
    """Books that do not balance, and offsets without a place."""
    for item in found:
        yield Condition(
            alert="ledger-imbalance",
            scope="/".join(filter(None, (item.dataset, item.mart))),
            summary=f"check {item.check} is red: {item.found}",
            severity="critical",
            command=f"lakehouse verify --dataset {item.dataset}",
            since=item.at,
        )


def _value(value: float | None, objective: Objective) -> str:
    if value is None:
        return "unknown"
    return f"{value:.2%}" if objective.unit == "share" else f"{value:,.1f} {objective.unit}"


def _is_fast(rates: Mapping[str, float]) -> bool:
    """Whether it cannot wait for the day: the budget would not last for it. At a factor of 1 it lasts as long as it should."""
    return any(factor > 1 and rates[long] > factor and rates[short] > factor for long, short, factor in BURNING)


def _scopes(kept: Sequence[Hold]) -> str:
    names = ", ".join(str(hold.scope) for hold in kept[:_NAMED])
    return names if len(kept) <= _NAMED else f"{names}, and {len(kept) - _NAMED} more"


def _moment(epoch_ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC)
