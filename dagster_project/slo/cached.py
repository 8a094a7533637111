"""When versions of a mart became visible in the cache, where they are served from one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping

from dagster_project.contract.model import Mart
from dagster_project.errors import CacheError
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import visible_at

# By version of a mart, since when readers of the cache have had it; what is not in it counts from Gold's commit on.
Shown = Callable[[Mart, Table], Mapping[int, dt.datetime]]


def nothing(mart: Mart, gold: Table) -> Mapping[int, dt.datetime]:
    """Of a lake without a cache."""
    del mart, gold
    return {}


def shown_in(cache: Cache) -> Shown:
    """What a cache says; while it is away readers have Gold itself, so nothing."""

    def times(mart: Mart, gold: Table) -> Mapping[int, dt.datetime]:
        if mart.serve is None or not cache.there:
            return {}
        try:
            return visible_at(mart.name, created_ms=gold.created_ms, cache=cache)
        except CacheError:
            return {}

    return times
