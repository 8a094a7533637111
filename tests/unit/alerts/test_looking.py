"""What is found wrong: each kind of trouble makes its own condition, and what cannot be looked at says so."""

from __future__ import annotations

import datetime as dt
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import polars as pl
import pytest

from dagster_project.alerts import conditions, look, probes
from dagster_project.alerts.alert import Condition
from dagster_project.alerts.arrivals import WINDOW, Arrival, arrivals
from dagster_project.alerts.causes import EDGES
from dagster_project.alerts.facts import Facts, FailedRun, Imbalance
from dagster_project.alerts.kinds import KINDS
from dagster_project.alerts.probes import SLOW_S, Bounded, Probe
from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Breaker
from dagster_project.errors import LakeError, ServiceError
from dagster_project.ingest.horizon import Horizon
from dagster_project.lake.storage import Storage
from dagster_project.serving.cache import Cache
from dagster_project.serving.status import Copy, Status
from dagster_project.slo.status import Objective
from tests.unit.alerts.platform import START
from tests.unit.lakes import Lake, reading
from tests.unit.lateness import event

CALM = {"5m": 0.0, "30m": 0.0, "1h": 0.0, "6h": 0.0, "3d": 0.0}
OBJECTIVE = Objective(
    dataset="orders",
    region=None,
    name="lag_seconds",
    value=10.0,
    bound=300.0,
    unit="seconds",
    target=0.99,
    good=1000,
    bad=0,
    unmeasured=0,
    attained=1.0,
    budget_left=1.0,
    burn=MappingProxyType(CALM),
    burning=False,
    first=START - dt.timedelta(hours=1),
    at=START,
)
HORIZON = Horizon(dataset="orders", topic="shop.orders", state="safe", lag=3, seconds=90_000.0)


def no_broker() -> str:
    raise ServiceError("no Kafka broker", remedy="start one")


def no_cache(lake: Lake) -> Cache:
    return Cache(lambda: "", storage=lake.storage)


def seen(lake: Lake, *, now: dt.datetime | None = None, facts: Facts | None = None) -> list[Condition]:
    found = look.look(
        lake.catalog,
        storage=lake.storage,
        servers=no_broker,
        cache=no_cache(lake),
        facts=facts or Facts(),
        now=now or dt.datetime.now(dt.UTC),
    )
    assert found.store_up
    return [item for item in found.seen.conditions if item.alert != "broker-down"]


def ids(found: list[Condition]) -> list[str]:
    return [str(item.id) for item in found]


def test_nothing_is_wrong_with_a_lake_that_is_well(lake: Lake) -> None:
    assert seen(lake) == []
    lake.arrive(reading(0, "a"), reading(1, "b", region="us"))
    lake.refine()
    assert seen(lake) == []


def test_an_open_breaker_and_held_partitions(tmp_path: Path, catalog: Catalog) -> None:
    breaker = Breaker(bad_rate=0.5, min_rows=4, probe=dt.timedelta(hours=1))
    lake = Lake.at(tmp_path / "lake", catalog=catalog, breaker=breaker)
    lake.arrive(*(reading(number, f"k{number}", level=-1) for number in range(6)), reading(6, "u", region="us"))
    before = dt.datetime.now(dt.UTC)
    lake.refine()
    (found,) = seen(lake)
    assert str(found.id) == "breaker-open readings/eu"
    assert found.severity == "critical"
    assert found.since is not None
    assert abs((found.since - before).total_seconds()) < 60
    assert found.command == "lakehouse quarantine list readings"


def test_a_silent_region(tmp_path: Path, catalog: Catalog) -> None:
    lake = Lake.at(tmp_path / "lake", catalog=catalog, idle_after=dt.timedelta(minutes=20))
    lake.arrive(event(0, 0), event(1, 0, region="us"), event(2, 60, region="us"))
    lake.refine()
    (found,) = seen(lake)
    assert str(found.id) == "silent-region readings/eu"
    lake.arrive(event(3, 59))
    lake.refine()
    assert seen(lake) == []


def land(lake: Lake, *, rows: int, poison: int = 0, drifted: int = 0) -> None:
    """A commit as an ingest makes it."""
    nothing = pl.DataFrame(schema=dict(lake.bronze.spec.schema))
    lake.bronze.commit(nothing, cursors={}, metadata={"rows": rows, "poison": poison, "drifted": drifted})


def test_a_burst_of_poison_is_over_when_it_is(lake: Lake) -> None:
    land(lake, rows=1000, poison=4)
    assert seen(lake) == []
    land(lake, rows=100, poison=60)
    (found,) = seen(lake)
    assert str(found.id) == "poison-rate readings"
    assert "64 of 1,100 messages (5.8%)" in found.summary
    assert seen(lake, now=dt.datetime.now(dt.UTC) + WINDOW) == []  # nothing comes any more
    land(lake, rows=1000)
    assert seen(lake) == []  # less than a twentieth


def test_drift_stays_until_messages_come_without_it(catalog: Catalog) -> None:
    dataset = catalog.datasets[0]
    drift = Arrival(at=START, rows=10, poison=0, drifted=2)
    late = START + dt.timedelta(days=1)
    assert [str(found.id) for found in conditions.arrived(dataset, [drift], now=late)] == ["schema-drift readings"]
    assert list(conditions.arrived(dataset, [replace(drift, drifted=0)], now=late)) == []


def test_each_commit_is_read_once_and_those_of_the_window_are_kept(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [START.timestamp()]
    monkeypatch.setattr("dagster_project.lake.actions.time.time", lambda: clock[0])
    for number in range(40):
        land(lake, rows=number + 1)
        clock[0] += 5
    found = arrivals(lake.bronze)
    assert [item.rows for item in found] == list(range(17, 41))  # 24 × 5 s
    read = list[int]()
    commits = type(lake.bronze).commits

    def counted(self: object, first: int = 0, last: int | None = None) -> object:
        made = list(commits(self, first, last))  # pyright: ignore[reportArgumentType] as it was called
        read.extend(commit.version for commit in made)
        return iter(made)

    monkeypatch.setattr(type(lake.bronze), "commits", counted)
    assert arrivals(lake.bronze) == found
    assert read == []
    land(lake, rows=99)
    assert [item.rows for item in arrivals(lake.bronze)] == [*range(18, 41), 99]
    assert len(read) == 1


def test_budgets() -> None:
    assert list(conditions.budgets([OBJECTIVE, replace(OBJECTIVE, value=None), replace(OBJECTIVE, bound=None)])) == []
    (lag,) = conditions.budgets([replace(OBJECTIVE, value=301.0)])
    assert (str(lag.id), lag.command) == ("lag orders", "lakehouse lag --dataset orders")
    slow = MappingProxyType({**CALM, "3d": 1.5, "6h": 1.5})
    fast = MappingProxyType({**CALM, "1h": 15.0, "5m": 15.0})
    regional = replace(OBJECTIVE, name="freshness", region="eu", burning=True, burn=slow)
    (warning,) = conditions.budgets([regional])
    assert (str(warning.id), warning.severity) == ("slo-burn orders/eu/freshness", "warning")
    (critical,) = conditions.budgets([replace(regional, burn=fast)])
    assert critical.severity == "critical"
    assert ids(list(conditions.budgets([replace(OBJECTIVE, burning=True)]))) == ["slo-burn orders/lag_seconds"]


def test_what_is_served(catalog: Catalog) -> None:
    copy = Copy(mart="levels", gold=7, cached=6, current=False, behind_since=START)
    whole = replace(copy, current=True, cached=7, behind_since=None)
    found = Status(
        address="redis://cache:6379", state="available", breaker="closed", since=None, reason="", marts=(copy, whole)
    )
    assert list(conditions.served(found, catalog, now=START + dt.timedelta(seconds=10))) == []
    (behind,) = conditions.served(found, catalog, now=START + dt.timedelta(minutes=1))
    assert (str(behind.id), behind.since) == ("stale-cache readings/levels", START)
    assert "version 6 of levels, Gold has had version 7" in behind.summary
    assert list(conditions.served(replace(found, state="none"), catalog, now=START + dt.timedelta(hours=1))) == []


def test_a_cache_that_does_not_answer_is_one_alert_and_gold_is_not_asked(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Cache(lambda: "redis://127.0.0.1:1/0", storage=lake.storage)
    monkeypatch.setattr(look, "served", lambda *_, **__: 1 / 0)

    def looked(lake: Lake) -> list[Condition]:
        found = look.look(lake.catalog, storage=lake.storage, servers=no_broker, cache=away, facts=Facts(), now=START)
        return [item for item in found.seen.conditions if item.alert == "stale-cache"]

    private = replace(lake.mart, serve=None)
    assert looked(replace(lake, catalog=replace(lake.catalog, marts=(private,)))) == []
    (found,) = looked(lake)
    assert str(found.id) == "stale-cache"
    assert "127.0.0.1:1" in found.summary
    assert found.since is not None


def test_losses() -> None:
    soon = replace(HORIZON, state="soon", seconds=600.0, found="ingest does not keep up", to_do="see why")
    lost = replace(HORIZON, state="lost", dataset="payments")
    found = list(conditions.losses([HORIZON, soon, lost, replace(HORIZON, state="unknown")]))
    assert [(str(item.id), item.severity) for item in found] == [
        ("time-to-loss orders", "warning"),
        ("time-to-loss payments", "critical"),
    ]
    assert "in 600 s at the earliest" in found[0].summary


def test_what_dagster_knows(lake: Lake) -> None:
    run = FailedRun(owner="orders", work="ingest", job="ingest_orders", run_id="r-1", at=START, error="no topic")
    books = Imbalance(dataset="payments", mart="ledger", check="trial_balance", at=START, found="1 broken")
    found = seen(lake, facts=Facts(runs=(run,), imbalances=(books, replace(books, mart=""))))
    assert ids(found) == [
        "failed-run orders/ingest",
        "ledger-imbalance payments/ledger",
        "ledger-imbalance payments",
    ]
    assert found[0].correlation_id == "r-1"


def test_a_dead_broker_hides_only_what_it_is_asked_for(lake: Lake) -> None:
    lake.arrive(reading(0, "a"))
    found = look.look(
        lake.catalog,
        storage=lake.storage,
        servers=no_broker,
        cache=no_cache(lake),
        facts=Facts(checking=True),
        now=START,
    )
    assert ids(list(found.seen.conditions)) == ["broker-down"]
    assert found.seen.unknown == {"time-to-loss", "ledger-imbalance"}


def test_a_dead_store_hides_what_is_in_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Storage, "filesystem", lambda self: 1 / 0)
    found = look.look(
        lake.catalog, storage=lake.storage, servers=no_broker, cache=no_cache(lake), facts=Facts(), now=START
    )
    assert not found.store_up
    assert set(ids(list(found.seen.conditions))) == {"broker-down", "store-down"}
    of_stores_and_dagster = {"broker-down", "store-down", "slow-store", "failed-run", "ledger-imbalance", "stale-cache"}
    assert found.seen.unknown >= KINDS.keys() - of_stores_and_dagster


def test_a_store_that_hangs_is_down_and_not_asked_again_meanwhile(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    released, asked = threading.Event(), list[int]()

    def hangs(storage: Storage) -> Probe:
        asked.append(1)
        released.wait()
        return Probe(seconds=9.0)

    monkeypatch.setattr(look, "PROBE_S", 0.05)
    monkeypatch.setattr(probes, "store", hangs)
    for _ in range(3):
        began = time.monotonic()
        found = look.look(
            lake.catalog, storage=lake.storage, servers=no_broker, cache=no_cache(lake), facts=Facts(), now=START
        )
        assert not found.store_up
        assert time.monotonic() - began < 5
    assert len(asked) == 1
    released.set()


def test_a_table_that_cannot_be_read_hides_no_other(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    land(lake, rows=10, poison=9)

    def broken(*_: object) -> object:
        raise LakeError("it is broken")

    monkeypatch.setattr(look, "watermarks", broken)
    lake.refine()
    found = look.look(
        lake.catalog,
        storage=lake.storage,
        servers=no_broker,
        cache=no_cache(lake),
        facts=Facts(),
        now=dt.datetime.now(dt.UTC),
    )
    assert "poison-rate readings" in ids(list(found.seen.conditions))
    assert "poison-rate" not in found.seen.unknown


def test_stores() -> None:
    assert list(conditions.store(Probe(seconds=SLOW_S / 2), uri="s3://lake")) == []
    (slow,) = conditions.store(Probe(seconds=SLOW_S * 2), uri="s3://lake")
    (down,) = conditions.store(Probe(seconds=9.0, found="refused"), uri="s3://lake")
    assert (slow.alert, down.alert) == ("slow-store", "store-down")
    assert "on this machine" in down.summary


def test_probes(tmp_path: Path) -> None:
    assert probes.store(Storage.at(str(tmp_path))).up
    assert probes.store(Storage.at(str(tmp_path / "not-yet"))).up
    (tmp_path / "file").write_text("no folder")
    assert not probes.store(Storage.at(str(tmp_path / "file" / "lake"))).up
    assert "no Kafka broker" in probes.broker(no_broker).found


def test_what_is_asked_in_time_gives_its_answer_or_its_error() -> None:
    asked = Bounded[int]()
    asked.ask(lambda: 3)
    assert asked.answer(time.monotonic() + 5) == 3
    asked.ask(fails)
    with pytest.raises(LakeError):
        asked.answer(time.monotonic() + 5)
    released = threading.Event()
    asked.ask(lambda: 4 if released.wait() else 0)
    with pytest.raises(TimeoutError):
        asked.answer(time.monotonic())
    asked.ask(lambda: 5)  # is not asked: the former answer is still to come
    released.set()
    assert asked.answer(time.monotonic() + 5) == 4
    asked.ask(lambda: 5)
    assert asked.answer(time.monotonic() + 5) == 5


def fails() -> int:
    raise LakeError("broken")


def test_every_kind_is_in_the_graph_only_if_there_is_one() -> None:
    assert {name for edge in EDGES for name in (edge.cause, edge.effect)} <= KINDS.keys()
