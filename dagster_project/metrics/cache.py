"""How the cache is, and how far it is behind Gold."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.contract.model import Catalog
from dagster_project.lake.storage import Storage
from dagster_project.metrics.family import Family, Sample, Source
from dagster_project.serving.cache import Cache
from dagster_project.serving.status import status

UP = Family(name="lakehouse_cache_up", help="1 while the cache answers, else 0; not there without a cache", unit="1")
BREAKER = Family(
    name="lakehouse_cache_breaker_open",
    help="1 while the cache is not asked because it did not answer, 0.5 while it is tried, else 0",
    unit="1",
)
VERSION = Family(
    name="lakehouse_cache_version",
    help="Version of a mart in the cache; -1 where it has none",
    unit="versions",
    labels=("mart",),
)
BEHIND = Family(
    name="lakehouse_cache_behind_seconds",
    help="For how long the cache has lacked the version of a mart that Gold has; 0 if it has it",
    unit="seconds",
    labels=("mart",),
)
_OPEN = {"closed": 0.0, "half-open": 0.5, "open": 1.0}


def source(catalog: Catalog, *, storage: Storage, cache: Cache) -> Source:
    """Of each mart that is served."""

    def read(now: float) -> Iterator[Sample]:
        found = status(catalog, storage=storage, cache=cache)
        if found.state == "none":
            return
        yield UP.of(found.state == "available")
        yield BREAKER.of(_OPEN[found.breaker])
        for copy in found.marts:
            yield VERSION.of(copy.cached, copy.mart)
            yield BEHIND.of(0 if copy.behind_since is None else now - copy.behind_since.timestamp(), copy.mart)

    return Source(name="cache", families=(UP, BREAKER, VERSION, BEHIND), read=read)
