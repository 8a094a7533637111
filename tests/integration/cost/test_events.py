"""An event counts once, however often a run is doubled, broken or tried again; what that took counts each time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from dagster_project.assets import bronze
from dagster_project.cost.prices import load_prices
from dagster_project.cost.report import AssetCost, report
from dagster_project.definitions import build
from dagster_project.ingest.bronze import Batch
from dagster_project.ingest.fetch import Limits
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import Lake
from tests.integration.outbox.topic import Record, send

MESSAGES = 7


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


def test_a_broken_and_a_doubled_run_of_bronze_count_each_message_once(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(lake.dataset.topic.name, lake.servers, [Record(b"k", b"{") for _ in range(MESSAGES)])
    settings = Settings(home=lake.home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    job = build(lake.catalog, settings).resolve_job_def("ingest_orders")
    whole, limits = bronze.ingest, Limits(rows=2)
    monkeypatch.setattr(bronze, "IDLE_SECONDS", 0.0)

    def half(*arguments: Any, **named: Any) -> Iterator[Batch]:
        yield next(iter(whole(*arguments, **{**named, "limits": limits})))
        raise RuntimeError("the machine broke")

    def run() -> bool:
        with dg.DagsterInstance.ephemeral() as instance:
            return job.execute_in_process(instance=instance, raise_on_error=False).success

    def cost() -> AssetCost:
        (found,) = (
            part
            for part in report(
                storage=lake.storage,
                prices=load_prices(),
                since=dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
                until=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1),
            )
            if part.asset == "bronze/orders"
        )
        return found

    monkeypatch.setattr(bronze, "ingest", half)
    assert not run()
    broken = cost()
    # Dagster tries thrice, and each try takes in two before it breaks.
    assert (broken.events, broken.runs, broken.failed) == (6, 1, 1)
    assert broken.bytes_in > 0
    monkeypatch.setattr(bronze, "ingest", whole)
    assert run()
    after = cost()
    assert (after.events, after.runs, after.failed) == (MESSAGES, 2, 1)
    assert run()
    again = cost()
    assert (again.events, again.runs, again.failed) == (MESSAGES, 3, 1)
    assert again.cpu_seconds > after.cpu_seconds
