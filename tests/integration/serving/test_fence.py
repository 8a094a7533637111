"""Whoever publishes, in whatever order: the cache never goes back, and never mixes two versions."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.services import cache as service
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import Entry, entries, put, rows_in, visible_at
from dagster_project.serving.format import batches_of, rows_of, schema_of
from dagster_project.serving.window import Window
from dagster_project.settings import Settings

DAY = dt.date(2026, 1, 1)
REGIONS = ("apac", "eu", "us")
HOUR = dt.timedelta(hours=1)
VERSIONS = 6
# A table that was made anew counts from 0 again.
States = tuple[int, int]


def parts(state: States) -> dict[Key, int]:
    """A table of our own making: by table partition the version that wrote it last. Each touches one, one takes it away."""
    created, version = state
    found: dict[Key, int] = {}
    for number in range(version + 1):
        key = Key(DAY, REGIONS[(number * 7 + created) % 3])
        if number % 4 == 3:
            found.pop(key, None)
        else:
            found[key] = number
    return found


def rows(state: States, written: int, key: Key) -> pl.DataFrame:
    return pl.DataFrame({"region": [key.region], "value": [f"{state[0]}.{written}"]})


def entry(state: States) -> Entry:
    tokens = {key: f"{state[0]}.{written}" for key, written in parts(state).items()}
    return Entry(
        created_ms=state[0],
        version=state[1],
        digest=f"{state[0]}.{state[1]}",
        published_at=dt.datetime.now(dt.UTC),
        window=Window(tokens=tokens, since=DAY, whole=True, rows=len(tokens)),
        schema=schema_of(pl.DataFrame(schema={"region": pl.String, "value": pl.String})),
    )


def publish(mart: str, state: States, base: Entry | None, cache: Cache) -> str:
    """As `serving.publish` does, for a table that is not there."""
    wanted = entry(state)
    known = {} if base is None else base.window.tokens
    changed = {
        key: batches_of(rows(state, written, key))
        for key, written in parts(state).items()
        if known.get(key) != wanted.window.tokens[key]
    }
    return put(mart, wanted, changed, base=base, ttl=HOUR, cache=cache)


def seen(mart: str, cache: Cache) -> States | None:
    """What a reader has; fails where it is not one version's rows."""
    found = rows_in(mart, None, cache=cache)
    if found is None:
        return None
    head, batches = found
    state = (head.created_ms, head.version)
    values = set(rows_of(head.schema, batches).iter_rows())
    assert values == {(key.region, f"{state[0]}.{written}") for key, written in parts(state).items()}
    return state


@pytest.fixture(scope="module")
def make_cache(shared_server: Settings) -> Callable[[], Cache]:
    url = service.cache_url(shared_server)
    return lambda: Cache(lambda: url, storage=Storage.at("/fence"))


NUMBERS = count()
STATES = st.tuples(st.integers(1, 2), st.integers(0, VERSIONS - 1))
# Three publishers that look and write in any order: what one has seen may be long past when it writes.
STEPS = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["look", "write"]), STATES), max_size=20)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(steps=STEPS)
def test_no_order_of_publishers_takes_it_back(
    make_cache: Callable[[], Cache], steps: Iterable[tuple[int, str, States]]
) -> None:
    mart, cache = f"mart-{next(NUMBERS)}", make_cache()
    bases: dict[int, Entry | None] = {}
    newest: States | None = None
    for publisher, step, state in steps:
        if step == "look":
            bases[publisher] = entries([mart], cache=cache)[mart]
            continue
        base = bases.get(publisher)
        said = publish(mart, state, base, cache)
        # What should have been, from the steps alone.
        if newest is not None and state < newest:
            assert said == "outpaced"
        elif (None if base is None else (base.created_ms, base.version)) != newest:
            assert said == "moved"
        else:
            assert said == "published"
            newest = state
        assert seen(mart, cache) == newest


def test_publishers_and_readers_at_the_same_time(make_cache: Callable[[], Cache]) -> None:
    mart = "busy"
    ended = threading.Event()

    def publisher(seed: int) -> None:
        chance, cache = random.Random(seed), make_cache()
        # Mostly forwards, each at a pace of its own, and now and then back.
        for version in sorted(chance.choices(range(60), k=40), key=lambda version: version + chance.random() * 20):
            while publish(mart, (1, version), entries([mart], cache=cache)[mart], cache) == "moved":
                pass

    def reader() -> None:
        cache, last = make_cache(), (0, 0)
        while not ended.is_set():
            now = seen(mart, cache) or last
            assert now >= last
            last = now

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(reader) for _ in range(2)]
        try:
            for done in [pool.submit(publisher, seed) for seed in range(4)]:
                done.result()
        finally:
            ended.set()
        for done in readers:
            done.result()
    cache = make_cache()
    publish(mart, (1, 99), entries([mart], cache=cache)[mart], cache)
    assert seen(mart, cache) == (1, 99)


def test_when_a_version_became_visible_is_told_once(make_cache: Callable[[], Cache]) -> None:
    mart, cache = "told", make_cache()
    began = dt.datetime.now(dt.UTC)
    first: dict[int, dt.datetime] = {}
    for version in (0, 2, 2):
        publish(mart, (1, version), entries([mart], cache=cache)[mart], cache)
        first = first or {**visible_at(mart, created_ms=1, cache=cache)} if version else {}
    found = visible_at(mart, created_ms=1, cache=cache)
    assert list(found) == [0, 2]
    assert began <= found[0] <= found[2]
    assert found == first
    assert visible_at(mart, created_ms=2, cache=cache) == {}
