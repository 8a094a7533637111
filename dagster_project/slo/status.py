"""How each objective stands, from `ops.measurements` and the contracts alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.budget import WINDOWS, Count, attained, budget_left, burn, gaps, is_burning, unmeasured
from dagster_project.slo.objectives import Name, Promise, Unit, promises
from dagster_project.slo.records import counted, tally


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One objective of a dataset, or of a region of it, as it stood at a moment.

    Attributes:
        region: `None` stands for all of them.
        value: measured last; `None` if that could not be.
        bound: what a value may be at most; of a share, at least; `None`: nothing is promised, and nothing is counted.
        target: share of what is counted that must be good.
        good, bad: what was counted over the contract's window; `unmeasured` are those of the bad ones that nobody saw.
        attained: share that was good; `None` while nothing was counted.
        budget_left: 1: untouched; below 0: overspent.
        burn: by window, how fast the budget is spent; at 1 it lasts exactly as long as the contract's window.
        burning: it is spent so fast that a person should look.
        first, at: when it was measured first, and last.
    """

    dataset: str
    region: str | None
    name: Name
    value: float | None
    bound: float | None
    unit: Unit
    target: float
    good: int
    bad: int
    unmeasured: int
    attained: float | None
    budget_left: float
    burn: Mapping[str, float]
    burning: bool
    first: dt.datetime
    at: dt.datetime


def status(catalog: Catalog, *, storage: Storage, now: dt.datetime) -> tuple[Objective, ...]:
    """All objectives that were ever measured, in the order of the contracts.

    Raises:
        LakeError: the measurements cannot be read.
    """
    table = Table.find(specs.measurements(), storage=storage)
    if table is None:
        return ()
    # Of contracts with one window, which are most, each count is made once.
    budgets = {dataset.slo.window for dataset in catalog.datasets}
    found = tally(table, now=now, windows=sorted({*WINDOWS.values(), *budgets}))
    holes = gaps(found.ticks, now)
    rows = {(row["dataset"], row["region"], row["objective"]): row for row in found.series.iter_rows(named=True)}
    return tuple(
        judge(promise, rows[key], window=dataset.slo.window, holes=holes, now=now)
        for dataset, promise in _promises(catalog.datasets)
        if (key := (promise.dataset, promise.region, promise.name)) in rows
    )


def _promises(datasets: Iterable[Dataset]) -> Iterable[tuple[Dataset, Promise]]:
    return ((dataset, promise) for dataset in datasets for promise in promises(dataset))


def judge(
    promise: Promise,
    row: Mapping[str, Any],
    *,
    window: dt.timedelta,
    holes: Sequence[tuple[dt.datetime, dt.datetime]],
    now: dt.datetime,
) -> Objective:
    """How an objective stands, from its counts.

    Args:
        row: of `Tally.series`.
        window: over which its budget is reckoned.
        holes: between which moments nobody measured.
    """

    def count(length: dt.timedelta) -> Count:
        missed = unmeasured(holes, after=now - length, first=row["first"], until=now) if promise.gaps else 0
        return Count(good=row[counted("good", length)], bad=row[counted("bad", length)] + missed, unmeasured=missed)

    whole = count(window)
    rates = {name: burn(count(length), promise.target) for name, length in WINDOWS.items()}
    return Objective(
        dataset=promise.dataset,
        region=promise.region,
        name=promise.name,
        value=row["value"],
        bound=promise.bound,
        unit=promise.unit,
        target=promise.target,
        good=whole.good,
        bad=whole.bad,
        unmeasured=whole.unmeasured,
        attained=attained(whole),
        budget_left=budget_left(whole, promise.target),
        burn=rates,
        burning=is_burning(rates, measured=now - row["first"]),
        first=row["first"],
        at=row["at"],
    )
