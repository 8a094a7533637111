"""What each materialization of one run takes, written to `ops/costs` in one commit when the run ends, however it ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.cost.charge import charge, per_million
from dagster_project.cost.prices import Prices
from dagster_project.lake import meter, specs
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table


@dataclass(kw_only=True)
class Spending:
    """What a materialization has taken so far.

    Attributes:
        events: to be counted by whoever works.
        failed: it ended with an error, which another try may have mended.
        engine: where the work was done: `local`, or on Spark `glue`, `emr`, or `spark` of one's own.
    """

    asset: str
    datasets: tuple[str, ...]
    events: int = 0
    failed: bool = False
    engine: str = "local"
    used: Used = field(default_factory=Used)


class Recorder:
    """Of one run, by asset. Assets take their turns: what the process uses while one works is that one's and no other's."""

    def __init__(self, run: str, *, prices: Prices) -> None:
        """Begin.

        Args:
            run: what the time between the materializations goes by, such as `run/ingest_orders`.
        """
        self._run = run
        self._prices = prices
        self._began = meter.origin() or meter.taken()
        self._spent: dict[str, Spending] = {}
        self._at_work: list[Spending] = []

    @contextmanager
    def of(self, asset: str, *datasets: str) -> Generator[Spending]:
        """Count what is used within as an asset's, beside what it has used before in this run.

        Args:
            asset: such as `silver/orders`.
            datasets: those that its rows come from.
        """
        spent = self._spent.setdefault(asset, Spending(asset=asset, datasets=datasets))
        self._at_work.append(spent)
        before = meter.taken()
        try:
            yield spent
        except BaseException:
            spent.failed = True
            raise
        finally:
            used = meter.taken() - before
            spent.used += used
            self._at_work.pop()
            if self._at_work:  # of which this was a part
                self._at_work[-1].used -= used

    def figures(self, spent: Spending) -> dict[str, float | int]:
        """What an asset has taken so far, and what that costs; for a million events if this run knows of new ones."""
        usd = charge(spent.used, self._prices, engine=spent.engine).usd
        # A mart counts the rows that it reads, of which most are old: what is new, Bronze or Silver has counted.
        new = (
            part.events
            for part in self._spent.values()
            if part.asset.startswith(("bronze/", "silver/")) and set(part.datasets).intersection(spent.datasets)
        )
        rate = per_million(usd, max(new, default=0))
        return {
            **{name: round(value, 3) for name, value in asdict(spent.used).items()},
            "usd": usd,
            **({} if rate is None else {"usd_per_million_events": rate}),
        }

    def close(self, *, run_id: str, storage: Storage) -> None:
        """Write it all down, with what the run took beside.

        Raises:
            LakeError: the store cannot be written.
        """
        if not self._spent:
            return
        parts = list(self._spent.values())
        rest = meter.taken() - self._began
        for part in parts:
            rest -= part.used
        names = dict.fromkeys(name for part in parts for name in part.datasets)
        record([*parts, Spending(asset=self._run, datasets=tuple(names), used=rest)], run_id=run_id, storage=storage)


def record(spent: Iterable[Spending], *, run_id: str, storage: Storage) -> None:
    """Append to `ops/costs`.

    Raises:
        LakeError: the store cannot be written.
    """
    now = dt.datetime.now(dt.UTC)
    spec = specs.costs()
    rows = [
        {
            "at": now,
            "asset": part.asset,
            "run_id": run_id,
            "datasets": list(part.datasets),
            "failed": part.failed,
            "engine": part.engine,
            "events": part.events,
            **asdict(part.used),
            DATE_COLUMN: now.date(),
        }
        for part in spent
    ]
    Table.open(spec, storage=storage).commit(pl.DataFrame(rows, schema=dict(spec.schema)), cursors={})
