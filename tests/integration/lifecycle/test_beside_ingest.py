"""Maintenance beside everything else: no run fails on either side, and every offset keeps its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import dagster as dg
import pytest

from dagster_project.accounting.account import Account
from dagster_project.definitions import build
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.lifecycle.upkeep import tend
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources import oracle
from dagster_project.sources.oracle import Expected
from dagster_project.sources.orders import Orders
from tests.integration.accounting.kafka import Producer
from tests.integration.lake import PATIENCE, Lake

# Of June, so that all of it is older than the retention as soon as Silver has read it.
EVENTS, STEPS, FOREIGN = 2400, 3, 3
# So that each step is several commits of Bronze.
SMALL = Limits(rows=150, seconds=0.2)


@dataclass(frozen=True, kw_only=True)
class Story:
    """What happened to a lake: what must be in it, and the accounts that were taken meanwhile."""

    lake: Lake
    expected: Expected
    seen: list[Account]


def run(repository: dg.RepositoryDefinition, name: str) -> None:
    """One run of a job, which must succeed."""
    with dg.DagsterInstance.ephemeral() as instance:
        assert repository.get_job(name).execute_in_process(instance=instance).success


def expired(lake: Lake) -> int:
    table = Table.find(specs.bronze(lake.dataset), storage=lake.storage)
    return 0 if table is None else table.cursors().get(EXPIRED, 0)


def stream(lake: Lake) -> Orders:
    return Orders(dataset=lake.dataset, events=EVENTS, seed=5, duplicates=0.1, late=0.1, poison=0.02)


def produce(lake: Lake) -> None:
    """Send events and transactions of others, the next ones when some of the last have expired."""
    foreign = Producer(lake.servers, lake.dataset.topic.name, transactional=True)
    for step in range(STEPS):
        before, deadline = expired(lake), time.monotonic() + 2 * PATIENCE
        lake.produce(stream(lake), limit=(step + 1) * EVENTS // STEPS)
        foreign.transaction([(0, b"k", b"never to be seen")] * FOREIGN, commit=step == 0)
        while expired(lake) == before:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.fixture(scope="module")
def story(make_lake: Callable[[str], Lake]) -> Story:
    """All at once, until everything was sent; then each once more."""
    lake = make_lake("orders")
    settings = Settings(home=lake.home, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers=lake.servers)
    repository = build(lake.catalog, settings).get_repository_def()
    expire, maintain = (partial(run, repository, name) for name in ("expire_orders", "maintain_orders"))
    ended = threading.Event()

    def again(*steps: Callable[[], object]) -> None:
        while not ended.is_set():
            for step in steps:
                step()

    seen: list[Account] = []
    with ThreadPoolExecutor() as pool:
        producing = pool.submit(produce, lake)
        # Pools make Silver's writers take turns; nothing else waits for anything.
        working = [
            pool.submit(again, partial(lake.ingest, SMALL)),
            pool.submit(again, lake.refine, lake.compute, maintain),
            pool.submit(again, expire),
        ]
        try:
            while not producing.done() and not any(future.done() for future in working):
                seen.append(lake.account())
        finally:
            ended.set()
        for future in (*working, producing):
            future.result()
    lake.ingest()
    lake.refine()
    lake.compute()
    expire()
    maintain()
    return Story(lake=lake, expected=oracle.expected(oracle.read(lake.produce(stream(lake)).oracle)), seen=seen)


def test_accounts_that_were_taken_meanwhile_have_no_problems(story: Story) -> None:
    assert {problem for found in story.seen for problem in found.problems} == set()
    assert len({found.expired for found in story.seen}) > 1


def test_in_the_end_every_event_has_its_place_though_bronze_has_let_go_of_it(story: Story) -> None:
    found = story.lake.account()
    assert (found.problems, found.pending, found.unaccounted) == ((), 0, 0)
    assert found.silver_rows == len(story.expected.rows)
    assert found.quarantined == story.expected.counts["decode"] + story.expected.counts["gate"] + FOREIGN
    # Only what has no table partition is left of Bronze: poison.
    left = story.lake.bronze()
    assert set(left["_kind"]) == {specs.POISON}
    assert found.expired == EVENTS + FOREIGN - len(left)
    assert found.aborted == (STEPS - 1) * FOREIGN


def test_after_a_vacuum_only_files_of_the_newest_versions_are_on_disk(story: Story) -> None:
    lake = story.lake
    vacuumed = {}
    for name, table in lake.tables().items():
        rows = len(table.rows().collect())
        done = tend(table.spec, storage=lake.storage, usd_per_gb_month=0.023, kept_hours=0)
        assert done is not None
        vacuumed[name] = done.vacuumed_files
        newest = lake.table(table.spec)
        there = {str(path.relative_to(table.uri)) for path in Path(table.uri).rglob("*.parquet")}
        there = {path for path in there if not path.startswith("_delta_log")}
        assert there == set(map(unquote, newest.files()["path"]))
        assert len(newest.rows().collect()) == rows
    assert min(vacuumed["bronze/orders"], vacuumed["silver/orders"]) > 0
    assert lake.account().problems == ()
