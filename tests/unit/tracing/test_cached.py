"""What is told of the cache: the first version published that has the event, or why nothing is."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from dagster_project.errors import CacheError
from dagster_project.serving.cache import Cache
from dagster_project.tracing import cached
from dagster_project.tracing.cached import Shelf
from tests.unit.lakes import EPOCH, Lake, reading


@pytest.fixture
def full(lake: Lake) -> Lake:
    lake.arrive(reading(0))
    lake.refine()
    lake.compute()
    return lake


def shelf(lake: Lake, url: str = "redis://nowhere") -> Shelf:
    return Shelf(Cache(lambda: url, storage=lake.storage))


def test_it_is_the_first_published_version_that_has_it(full: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    times = {version: EPOCH + dt.timedelta(seconds=version) for version in (2, 5, 9)}
    monkeypatch.setattr(cached, "visible_at", lambda *_, **__: times)
    found = {version: shelf(full).publishing(full.mart, full.gold, version) for version in (2, 3, 9, 10)}
    assert {version: step and (step.version, step.at) for version, step in found.items()} == {
        2: (2, times[2]),
        3: (5, times[5]),
        9: (9, times[9]),
        10: None,
    }


def test_nothing_is_told_of_what_is_not_served_or_where_there_is_no_cache(full: Lake) -> None:
    assert shelf(full, url="").publishing(full.mart, full.gold, 1) is None
    assert Shelf(None).publishing(full.mart, full.gold, 1) is None
    silent = shelf(full)
    assert silent.publishing(replace(full.mart, serve=None), full.gold, 1) is None
    assert silent.notes == ()


def test_a_cache_that_does_not_answer_is_asked_once_and_said_so(full: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(mart: str, **_: Any) -> None:
        asked.append(mart)
        raise CacheError("the cache does not answer")

    monkeypatch.setattr(cached, "visible_at", refuse)
    own = shelf(full)
    assert [own.publishing(full.mart, full.gold, 1) for _ in range(2)] == [None, None]
    assert asked == ["levels"]
    assert own.notes == ("the cache was asked in vain: the cache does not answer",)
