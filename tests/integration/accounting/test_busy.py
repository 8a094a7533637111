"""An account that is taken while everything runs tells of no problem where there is none."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.ingest.fetch import Limits
from dagster_project.outbox.publish import publish
from dagster_project.sources.orders import Orders
from dagster_project.topics.broker import Broker, Topic
from tests.integration.accounting.kafka import Producer
from tests.integration.lake import Lake

EVENTS, STEP = 8000, 400
# So that each step is several commits of Bronze.
SMALL = Limits(rows=150, seconds=0.2)


def verify(lake: Lake, describe: Callable[[], Topic] | None = None) -> Account:
    return account(
        lake.dataset,
        catalog=lake.catalog,
        storage=lake.storage,
        topic=describe or (lambda: Broker(lake.servers).topic(lake.dataset.topic.name)),
        bootstrap_servers=lake.servers,
        payloads=True,
        deep=True,
    )


@pytest.mark.timeout(300)
def test_accounts_while_everything_runs_have_no_problems(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    source = Orders(dataset=lake.dataset, events=EVENTS, seed=4, duplicates=0.1, late=0.05, poison=0.05)
    foreign = Producer(lake.servers, lake.dataset.topic.name, transactional=True)
    ended = threading.Event()

    def produce() -> None:
        for limit in range(STEP, EVENTS + 1, STEP):
            lake.produce(source, limit=STEP)
            foreign.transaction([(0, b"k", b"never to be seen")] * 3, commit=limit % 3 == 0)

    def again(step: Callable[[], object]) -> None:
        while not ended.is_set():
            step()

    steps: list[Callable[[], object]] = [
        lambda: lake.ingest(SMALL),
        lake.refine,
        lake.compute,
        lambda: publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers),
    ]
    seen: list[Account] = []
    with ThreadPoolExecutor() as pool:
        producing = pool.submit(produce)
        running = [pool.submit(again, step) for step in steps]
        try:
            while not producing.done():
                seen.append(verify(lake))
                assert seen[-1].problems == ()
                assert not any(future.done() for future in running)
        finally:
            ended.set()
        for future in (producing, *running):
            future.result()
    # It was taken in the middle of things, more than once.
    assert len({found.offsets for found in seen}) > 2
    assert any(found.pending for found in seen)
    lake.ingest()
    lake.refine()
    lake.compute()
    publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)
    last = verify(lake)
    assert (last.problems, last.pending, last.letters_pending) == ((), 0, 0)


def test_what_arrives_once_the_broker_was_asked_is_of_no_account(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    source = Orders(dataset=lake.dataset, events=600, seed=4)
    lake.produce(source, limit=300)
    lake.ingest()
    before = verify(lake)

    def describe() -> Topic:
        found = Broker(lake.servers).topic(lake.dataset.topic.name)
        lake.produce(source)
        lake.ingest()
        lake.refine()
        lake.compute()
        return found

    meanwhile = verify(lake, describe)
    assert meanwhile.problems == ()
    assert (meanwhile.offsets, meanwhile.pending) == (before.offsets, before.pending)
    assert verify(lake).offsets > before.offsets
