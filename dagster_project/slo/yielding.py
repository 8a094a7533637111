"""Who makes room for whom: a dataset waits while a more important one burns its budget, and never for long."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from dagster_project.contract.model import Catalog, Dataset, Priority
from dagster_project.errors import LakehouseError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.objectives import Name
from dagster_project.slo.status import Objective, status

# Where more of the machine helps. A region that is silent does not get fresh by it.
_HELPED: Collection[Name] = ("lag_seconds", "latency_p50", "latency_p95", "latency_p99")
# Nobody starves: who has waited for as long as the lag that a contract promises by default has a turn, however others burn.
MOST = dt.timedelta(minutes=5)
# What was measured before that says nothing of now.
_RECENT = dt.timedelta(minutes=2)
_RANK: Mapping[Priority, int] = {priority: rank for rank, priority in enumerate(get_args(Priority))}
# By lake, the newest measurements and what follows from them: sensors look every other second, and it is measured rarely.
_KNOWN: dict[str, tuple[int, tuple[Objective, ...]]] = {}


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """A dataset that is behind and burns the budget of an objective."""

    dataset: Dataset
    objective: Name


def pressed(catalog: Catalog, *, storage: Storage, now: dt.datetime) -> list[Pressed]:
    """Datasets that others should make room for; none where that cannot be said, as to wait is never what moves data."""
    try:
        table = Table.find(specs.measurements(), storage=storage)
        if table is None:
            return []
        version, found = _KNOWN.get(table.uri, (-1, ()))
        if version != table.version:
            found = status(catalog, storage=storage, now=now)
            _KNOWN[table.uri] = (table.version, found)
    except LakehouseError:
        return []
    return behind(catalog, found, now=now)


def behind(catalog: Catalog, found: Iterable[Objective], *, now: dt.datetime) -> list[Pressed]:
    """Of each dataset the first objective that more of the machine would help, that burns, and that is not kept right now."""
    worst: dict[str, Pressed] = {}
    for one in found:
        beyond = one.value is not None and one.bound is not None and one.value > one.bound
        if one.name in _HELPED and one.burning and beyond and now - one.at <= _RECENT:
            worst.setdefault(one.dataset, Pressed(dataset=catalog.dataset(one.dataset), objective=one.name))
    return list(worst.values())


def yields_to(datasets: Iterable[Dataset], others: Iterable[Pressed]) -> Pressed | None:
    """The most important of the others that these datasets make room for; of these, too, the most important one counts."""
    own = max((_RANK[dataset.priority] for dataset in datasets), default=0)
    above = [other for other in others if _RANK[other.dataset.priority] > own]
    return max(above, key=lambda other: _RANK[other.dataset.priority], default=None)


def reason_to_yield(
    datasets: Iterable[Dataset], others: Iterable[Pressed], table: Table | None, *, now: dt.datetime
) -> str | None:
    """Why work on some datasets should wait, or `None`.

    Args:
        table: which the work would write; what was written long ago, or never, has waited for long enough.
    """
    other = yields_to(datasets, others)
    if other is None or table is None:
        return None
    try:
        left = table.committed_at() + MOST - now
    except LakehouseError:  # nobody can say for how long it has waited
        return None
    if left <= dt.timedelta(0):
        return None
    return (
        f"makes room for {other.dataset.name}, which burns its budget of {other.objective}, "
        f"for {left.total_seconds():.0f} s at most"
    )
