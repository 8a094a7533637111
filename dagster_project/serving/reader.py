"""Rows of a mart for whoever shows them: from the cache while that is as new as Gold, else from Gold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from dagster_project.contract.model import Mart
from dagster_project.errors import CacheError, LakeError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.parts import published
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import Entry, rows_in
from dagster_project.serving.format import rows_of
from dagster_project.serving.publish import GRACE
from dagster_project.serving.window import window


@dataclass(frozen=True, kw_only=True)
class Served:
    """Rows of a mart as of one version.

    Attributes:
        rows: in the columns of the contract and the order of the key.
        version: of the table in Gold; -1 while nothing was ever written.
        published_at: when this version became visible where the rows come from; `None` while there is none.
        source: where the rows come from.
        stale_since: since when the cache, or with `source="cache"` Gold, could not be used; `None`: all is well.
        whole: the rows are all that there is of what was asked for.
    """

    rows: pl.DataFrame
    version: int
    published_at: dt.datetime | None
    source: Literal["cache", "gold"]
    stale_since: dt.datetime | None
    whole: bool


class Reader:
    """Reads marts; keep one, for it remembers since when something is not as it should be.

    Args:
        storage: the lake.
        cache: of the same lake.
    """

    def __init__(self, *, storage: Storage, cache: Cache) -> None:
        self._storage = storage
        self._cache = cache
        self._missed: dict[str, dt.datetime] = {}

    def read(self, mart: Mart, keys: Iterable[Key] | None = None) -> Served:
        """Rows of some table partitions, or of the newest days that are served.

        From either source they are the same rows, and never older than Gold was when this was called, but while Gold itself
        cannot be read.

        Args:
            keys: table partitions; `None`: of a mart that is served the part that its contract bounds, of any other all.

        Raises:
            LakeError: Gold cannot be read, and the cache has nothing either.
        """
        wanted = None if keys is None else list(keys)
        there = mart.serve is not None and self._cache.there
        # First what is cached: a version that is published in between is then older than Gold, and not the other way round.
        cached, since = self._cached(mart, wanted) if there else (None, None)
        try:
            gold = Table.find(specs.gold(mart), storage=self._storage)
        except LakeError:
            if cached is None:
                raise
            return self._from_cache(mart, *cached, wanted, stale=self._since(f"gold/{mart.name}"))
        self._missed.pop(f"gold/{mart.name}", None)
        if cached is not None and gold is not None and cached[0].digest == gold.digest.hex():
            self._missed.pop(mart.name, None)
            part = cached[0].window
            if part.fits if wanted is None else part.covers(wanted):
                return self._from_cache(mart, *cached, wanted, stale=None)
        elif there and gold is not None and since is None:
            since = self._behind(mart, gold, cached[0] if cached else None)
        return _from_gold(mart, gold, wanted, stale=since)

    def _cached(
        self, mart: Mart, keys: list[Key] | None
    ) -> tuple[tuple[Entry, list[bytes]] | None, dt.datetime | None]:
        """What the cache has; or since when it does not answer."""
        try:
            return rows_in(mart.name, keys, cache=self._cache), None
        except CacheError:
            return None, self._cache.since or self._since(mart.name)

    def _behind(self, mart: Mart, gold: Table, cached: Entry | None) -> dt.datetime | None:
        """Since when the cache lacks what Gold has; `None` while that may be on its way."""
        committed = gold.committed_at()
        if dt.datetime.now(dt.UTC) - committed < GRACE:
            return None
        # What is behind is so since Gold has moved on; what has gone, or never was, since that was seen.
        return self._since(mart.name) if cached is None else committed

    def _since(self, what: str) -> dt.datetime:
        return self._missed.setdefault(what, dt.datetime.now(dt.UTC))

    def _from_cache(
        self, mart: Mart, entry: Entry, batches: list[bytes], keys: list[Key] | None, *, stale: dt.datetime | None
    ) -> Served:
        return Served(
            rows=rows_of(entry.schema, batches).sort(mart.merge_key),
            version=entry.version,
            published_at=entry.published_at,
            source="cache",
            stale_since=stale,
            whole=entry.window.whole if keys is None else entry.window.covers(keys),
        )


def _from_gold(mart: Mart, gold: Table | None, keys: list[Key] | None, *, stale: dt.datetime | None) -> Served:
    if gold is None:
        rows = pl.DataFrame(schema=dict(specs.gold(mart).schema))
        return Served(rows=rows, version=-1, published_at=None, source="gold", stale_since=stale, whole=True)
    whole = True
    part = None if mart.serve is None else window(mart, gold.files(), max_rows=mart.serve.max_rows)
    if part is not None and not part.fits:
        part, stale = None, None  # too large for the cache is not stale
    if keys is not None:
        rows = published(gold, keys)
    elif part is not None:
        rows, whole = published(gold, list(part.tokens)), part.whole
    else:
        rows = gold.rows().select(gold.spec.schema.keys()).collect(engine="in-memory")
    return Served(
        rows=rows.sort(mart.merge_key),
        version=gold.version,
        published_at=gold.committed_at(),
        source="gold",
        stale_since=stale,
        whole=whole,
    )
