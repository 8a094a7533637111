"""The cache dies, hangs, and comes back: no run waits for it beyond its time-out, and readers have Gold meanwhile."""

from __future__ import annotations

import datetime as dt
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from dagster_project.errors import CacheError
from dagster_project.lake.keys import Key
from dagster_project.services import cache as service
from dagster_project.services import keeper
from dagster_project.serving import breaker
from dagster_project.serving import publish as publishing
from dagster_project.serving.cache import TIMEOUT_S, Cache
from dagster_project.serving.entry import entries
from dagster_project.serving.heal import heal
from dagster_project.serving.publish import publish
from dagster_project.serving.reader import Reader
from dagster_project.serving.status import status
from dagster_project.settings import Settings
from tests.integration.lake import PATIENCE
from tests.integration.serving.conftest import MakeServer, cache_of
from tests.unit.lakes import Lake, reading

# Far below what waiting for many time-outs would take, far above what a busy machine adds to one.
ONE_TIMEOUT_S = TIMEOUT_S + 3.0


@pytest.fixture
def server(make_server: MakeServer) -> Settings:
    return make_server()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes seconds takes tenths: an open breaker, and what counts as being on its way."""
    monkeypatch.setattr(breaker, "RESET_S", 0.3)
    for module in ("publish", "reader", "heal"):
        monkeypatch.setattr(f"dagster_project.serving.{module}.GRACE", dt.timedelta(0))


def pid(server: Settings) -> int:
    found = service.status(server).pid
    assert found is not None
    return found


def kill(server: Settings) -> None:
    os.kill(pid(server), signal.SIGKILL)
    until(lambda: service.status(server).pid is None)


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def hung(server: Settings) -> Iterator[Settings]:
    """A server that takes connections and answers nothing."""
    process = pid(server)
    os.kill(process, signal.SIGSTOP)
    yield server
    os.kill(process, signal.SIGCONT)


def change(lake: Lake) -> None:
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    lake.refine()
    lake.compute()


def test_a_dead_cache_costs_nothing_and_is_filled_when_it_is_back(server: Settings, lake: Lake) -> None:
    cache = cache_of(server, lake)
    reader = Reader(storage=lake.storage, cache=cache)
    publish(lake.mart, lake.gold, cache=cache)
    kill(server)
    before = dt.datetime.now(dt.UTC)
    change(lake)
    done = publish(lake.mart, lake.gold, cache=cache)
    assert done.state == "unavailable"
    assert done.seconds < ONE_TIMEOUT_S
    assert done.since is not None
    assert str(done).startswith(
        f"unavailable since {done.since:%Y-%m-%d %H:%M:%S} UTC: the cache at redis://127.0.0.1:"
    )
    gone = reader.read(lake.mart)
    assert gone.source == "gold"
    assert gone.stale_since is not None
    assert before <= gone.stale_since <= dt.datetime.now(dt.UTC)
    assert reader.read(lake.mart).stale_since == gone.stale_since
    assert status(lake.catalog, storage=lake.storage, cache=cache).state == "unavailable"

    service.revive(server, report=print)
    shared = f"{cache.key('', '').partition(':{')[0]}:pybreaker:state"

    def healed() -> bool:
        try:
            heal([lake.mart], {"gold/levels": lake.gold}, cache=cache, seconds=1)
        except CacheError:
            return False
        return reader.read(lake.mart).source == "cache"

    until(healed)
    found = reader.read(lake.mart)
    assert (found.stale_since, found.version) == (None, lake.gold.version)
    assert found.rows.equals(gone.rows)
    assert cache.ask(lambda client: client.get(shared)) == b"closed"  # in the cache again, for all
    said = status(lake.catalog, storage=lake.storage, cache=cache)
    assert (said.state, said.breaker, said.since, [copy.current for copy in said.marts]) == (
        "available",
        "closed",
        None,
        [True],
    )


@pytest.fixture
def long_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """An open breaker stays so for the rest of a test."""
    monkeypatch.setattr(breaker, "RESET_S", 60.0)


@pytest.mark.usefixtures("long_open")
def test_a_cache_that_hangs_costs_one_time_out(hung: Settings, lake: Lake) -> None:
    cache = cache_of(hung, lake)
    done = publish(lake.mart, lake.gold, cache=cache)
    assert done.state == "unavailable"
    assert TIMEOUT_S * 0.9 < done.seconds < ONE_TIMEOUT_S
    # While the breaker is open nobody waits, be it a hundred marts.
    began = time.monotonic()
    states = {publish(lake.mart, lake.gold, cache=cache).state for _ in range(100)}
    assert states == {"unavailable"}
    assert time.monotonic() - began < ONE_TIMEOUT_S
    assert Reader(storage=lake.storage, cache=cache).read(lake.mart).source == "gold"


def test_a_connection_that_hangs_half_way_costs_one_time_out(server: Settings, lake: Lake) -> None:
    cache = cache_of(server, lake)
    publish(lake.mart, lake.gold, cache=cache)
    change(lake)
    process = pid(server)
    os.kill(process, signal.SIGSTOP)
    try:
        done = publish(lake.mart, lake.gold, cache=cache)
    finally:
        os.kill(process, signal.SIGCONT)
    assert done.state == "unavailable"
    assert done.seconds < ONE_TIMEOUT_S
    until(lambda: publish(lake.mart, lake.gold, cache=cache).state in {"published", "current"})


def test_one_that_hangs_while_it_works_is_asked_nothing_more(
    server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, process = cache_of(server, lake), pid(server)
    asked: list[str] = []
    whole = Redis.execute_command

    def execute(client: Redis, *arguments: Any, **more: Any) -> Any:
        asked.append(str(arguments[0]))
        return whole(client, *arguments, **more)

    def work(client: Redis) -> Any:
        os.kill(process, signal.SIGSTOP)
        asked.clear()
        return client.ping()

    monkeypatch.setattr(Redis, "execute_command", execute)
    try:
        with pytest.raises(CacheError, match="does not answer: Timeout"):
            cache.ask(work)
    finally:
        os.kill(process, signal.SIGCONT)
    assert asked == ["PING"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_in_the_middle_of_a_publication_it_has_all_or_nothing(
    server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """The publisher, which may have been let go at either moment, or the server, which has nothing afterwards."""
    cache = cache_of(server, lake)
    publish(lake.mart, lake.gold, cache=cache)
    change(lake)
    whole = publishing.put

    class Killed(BaseException):
        """As if the process was no more."""

    def put(*arguments: Any, **more: Any) -> Any:
        if when == "after":
            whole(*arguments, **more)
        raise Killed

    monkeypatch.setattr(publishing, "put", put)
    with pytest.raises(Killed):
        publish(lake.mart, lake.gold, cache=cache)
    monkeypatch.undo()
    found = Reader(storage=lake.storage, cache=cache_of(server, lake)).read(lake.mart)
    assert found.source == ("cache" if when == "after" else "gold")
    assert found.rows.filter(region="us")["total"].to_list() == [2, 44]
    assert publish(lake.mart, lake.gold, cache=cache).state == ("current" if when == "after" else "published")


def test_killed_between_the_look_and_the_write(server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(server, lake)
    whole = publishing.put

    def put(*arguments: Any, **more: Any) -> Any:
        kill(server)
        return whole(*arguments, **more)

    monkeypatch.setattr(publishing, "put", put)
    assert publish(lake.mart, lake.gold, cache=cache).state == "unavailable"
    monkeypatch.setattr(publishing, "put", whole)
    service.revive(server, report=print)
    assert entries(["levels"], cache=cache_of(server, lake)) == {"levels": None}
    until(lambda: publish(lake.mart, lake.gold, cache=cache).state == "published")


@pytest.mark.usefixtures("long_open")
def test_all_processes_know_that_a_cache_refuses_to_work(server: Settings, lake: Lake) -> None:
    """It answers, and takes nothing: one process finds out, the others do not try."""
    first, second = cache_of(server, lake), cache_of(server, lake)
    key = first.key("levels", "mart")
    first.ask(lambda client: client.set(key, "somebody else's"))
    for _ in range(3):
        assert publish(lake.mart, lake.gold, cache=first).state == "unavailable"
    assert second.breaker.state == "open"
    refused = publish(lake.mart, lake.gold, cache=second)
    assert (refused.state, "still open" in refused.reason) == ("unavailable", True)
    assert refused.since is not None
    assert second.breaker.since is not None


@pytest.mark.usefixtures("long_open")
def test_a_cache_that_is_slow_is_left_alone(server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = cache_of(server, lake)
    monkeypatch.setattr(breaker, "_SLOW_S", 0.0)
    cache.ask(lambda client: client.ping())
    assert cache.breaker.state == "open"
    assert "it took" in str(cache.breaker.cause)
    assert publish(lake.mart, lake.gold, cache=cache).state == "unavailable"


def test_one_that_died_is_started_again_where_it_was(
    server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "_LOOK_SECONDS", 0.05)
    before, url = pid(server), service.cache_url(server)
    book = server.home / "supervisor.log"
    with keeper.kept(server, book=book):
        kill(server)
        until(lambda: service.status(server).pid not in {None, before})
    assert service.cache_url(server) == url
    assert "cache: it has died; starting it again" in book.read_text()
    assert publish(lake.mart, lake.gold, cache=cache_of(server, lake)).state == "published"


def test_one_that_was_stopped_is_said_to_be_away(server: Settings, lake: Lake) -> None:
    cache = cache_of(server, lake)
    publish(lake.mart, lake.gold, cache=cache)
    assert service.down(server).pid is None
    service.revive(server, report=pytest.fail)
    found = Reader(storage=lake.storage, cache=cache).read(lake.mart, [Key(dt.date(2026, 1, 1), "eu")])
    assert found.source == "gold"
    assert found.stale_since is not None


def test_only_who_has_the_password_gets_in(server: Settings, lake: Lake) -> None:
    shown = service.status(server).url
    stranger = Cache(lambda: shown, storage=lake.storage)
    refused = publish(lake.mart, lake.gold, cache=stranger)
    assert refused.state == "unavailable"
    assert "uthentication required" in refused.reason
    folder = server.home / "services" / "cache"
    assert folder.stat().st_mode & 0o077 == 0
    for name in ("password", "valkey.conf"):
        assert (folder / name).stat().st_mode & 0o077 == 0
    password = (folder / "password").read_text()
    assert password not in shown
    assert password not in refused.reason
    settings = cache_of(server, lake).ask(lambda client: client.config_get("*"))
    assert (settings["bind"], settings["save"], settings["maxmemory"]) == ("127.0.0.1", "", str(128 << 20))
