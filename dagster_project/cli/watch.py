"""Watching a dataset fill, layer by layer, until nothing is left to do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dagster_project.cli.output import error_console
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import AccountingError
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.inputs import tables_of
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.staleness import pending_gold
from dagster_project.services.orchestrator import Orchestra
from dagster_project.topics.broker import Broker

# Looking at the tables' logs costs some 10 ms; a person's eye needs no more.
_LOOK_S = 1.0
# Nothing moved for so long: something is wrong, and the logs say what. A run on a busy machine takes well under a minute.
_STALL_S = 120.0


class Sending(Protocol):
    """A producer at work: how much it has sent, whether it goes on, and what stopped it."""

    sent: int
    error: BaseException | None

    def is_alive(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far a dataset is: rows by layer, offsets that Bronze lacks, and table partitions that wait."""

    bronze: int
    silver: int
    gold: int
    lag: int
    waiting: int


def watch(
    contract: Dataset,
    catalog: Catalog,
    *,
    storage: Storage,
    broker: Broker,
    sender: Sending,
    total: int,
    orchestra: Orchestra,
) -> None:
    """Show each layer filling until nothing is left to do.

    Raises:
        AccountingError: nothing moved for minutes.
        ServiceError: Dagster's processes do not stay alive.
    """
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=error_console) as bars:
        produced = bars.add_task("Kafka", total=total)
        layers = {layer: bars.add_task(layer, total=total) for layer in ("Bronze", "Silver")}
        gold = bars.add_task("Gold rows", total=None)
        before, since = None, time.monotonic()
        while True:
            if sender.error is not None:
                raise sender.error
            orchestra.check()
            now = standing(contract, catalog, storage, broker)
            bars.update(produced, completed=sender.sent)
            bars.update(layers["Bronze"], completed=now.bronze, total=max(total, now.bronze))
            bars.update(layers["Silver"], completed=now.silver, total=max(total, now.silver))
            bars.update(gold, completed=now.gold)
            if not sender.is_alive() and now.lag == 0 and now.waiting == 0:
                for task in (layers["Silver"], gold):
                    bars.update(task, total=bars.tasks[task].completed)  # fewer rows than offsets is as it should be
                return
            if (now, sender.sent) != before:
                before, since = (now, sender.sent), time.monotonic()
            elif time.monotonic() - since > _STALL_S:
                raise AccountingError(
                    f"nothing has moved for {_STALL_S:.0f} s: lag {now.lag}, {now.waiting} table partitions are waiting",
                    expected="Dagster's sensors to launch runs and the runs to succeed",
                    remedy=f"read the logs in {orchestra.logs}, or run `lakehouse dev` and look at the failed runs",
                )
            time.sleep(_LOOK_S)


def wait_for_runs(dagster_home: Path) -> None:
    """Wait until the runs that brought the data have told the UI of it.

    Raises:
        AccountingError: a run does not end.
    """
    from dagster import DagsterInstance, RunsFilter  # costs over a second to import

    from dagster_project.sensors.launch import UNFINISHED

    deadline = time.monotonic() + _STALL_S
    with DagsterInstance.from_config(str(dagster_home)) as instance:
        while unfinished := instance.get_runs(RunsFilter(statuses=UNFINISHED)):
            if time.monotonic() > deadline:
                raise AccountingError(
                    f"run {unfinished[0].run_id} ({unfinished[0].job_name}) does not end",
                    expected=f"runs to end within {_STALL_S:.0f} s once the data is there",
                    remedy="look at the run in the UI (`lakehouse dev`)",
                )
            time.sleep(_LOOK_S)


def standing(contract: Dataset, catalog: Catalog, storage: Storage, broker: Broker) -> Standing:
    """Where a dataset stands, from the tables' logs and the broker's offsets."""
    marts = catalog.marts_of(contract.name)
    kinds = [specs.bronze(contract), specs.silver(contract)]
    tables = {f"{spec.layer}/{spec.name}": Table.find(spec, storage=storage) for spec in kinds}
    shown = tables_of(marts, catalog, storage=storage)
    every = {**shown, **tables}
    rows = {name: 0 if table is None else int(table.files()["num_records"].sum()) for name, table in every.items()}
    bronze = tables[f"bronze/{contract.name}"]
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    return Standing(
        bronze=rows[f"bronze/{contract.name}"],
        silver=rows[f"silver/{contract.table}"],
        gold=sum(rows[f"gold/{mart.name}"] for mart in marts),
        lag=lag(cursor, broker.topic(contract.topic.name)),
        waiting=len(pending_silver(contract, tables))
        + sum(len(pending_gold(mart, shown, catalog=catalog)) for mart in marts),
    )
