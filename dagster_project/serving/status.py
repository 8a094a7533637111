"""What is served, how far it is behind Gold, and how the cache is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Literal

from dagster_project.contract.model import Catalog, Mart
from dagster_project.errors import CacheError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import Entry, entries


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One mart that its contract has served.

    Attributes:
        gold: version of the table; -1 while there is none.
        cached: version in the cache; -1 where it has none, or does not answer.
        current: the cache has what Gold has; where that has too many rows it has none of them.
        published_at: when the cached version became visible.
        behind_since: when Gold's version was committed that the cache lacks.
        rows: in the cache.
        whole: these are all rows of the mart.
        left_s: seconds until the copy goes unless somebody finds it to be as new as Gold.
    """

    mart: str
    gold: int
    cached: int
    current: bool
    published_at: dt.datetime | None = None
    behind_since: dt.datetime | None = None
    rows: int = 0
    whole: bool = False
    left_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Status:
    """The cache and what it has.

    Attributes:
        address: of the cache, without a password; empty where none was ever started.
        state: whether it answers.
        breaker: `closed`, `half-open` or `open`; empty where there is no cache.
        since: since when it does not answer, as far as this process knows.
        reason: why.
    """

    address: str
    state: Literal["available", "unavailable", "none"]
    breaker: str
    since: dt.datetime | None
    reason: str
    marts: tuple[Copy, ...]


def status(catalog: Catalog, *, storage: Storage, cache: Cache) -> Status:
    """Compare the cache with Gold, by versions alone.

    Raises:
        LakeError: Gold cannot be read.
    """
    served = [mart for mart in catalog.marts if mart.serve is not None]
    found: dict[str, Entry | None] = {}
    state, reason = "available" if cache.there else "none", ""
    if cache.there:
        try:
            found = entries([mart.name for mart in served], cache=cache)
        except CacheError as error:
            state, reason = "unavailable", error.found
    return Status(
        address=cache.address,
        state=state,
        breaker=cache.breaker.state if cache.there else "",
        since=cache.since if cache.there else None,
        reason=reason,
        marts=tuple(_copy(mart, found.get(mart.name), storage) for mart in served),
    )


def _copy(mart: Mart, entry: Entry | None, storage: Storage) -> Copy:
    gold = Table.find(specs.gold(mart), storage=storage)
    if gold is None:
        return Copy(mart=mart.name, gold=-1, cached=-1, current=True)
    current = entry is not None and entry.digest == gold.digest.hex()
    behind = None if current else gold.committed_at()
    if entry is None:
        return Copy(mart=mart.name, gold=gold.version, cached=-1, current=False, behind_since=behind)
    return Copy(
        mart=mart.name,
        gold=gold.version,
        cached=entry.version,
        current=current,
        published_at=entry.published_at,
        behind_since=behind,
        rows=entry.window.rows,
        whole=entry.window.whole,
        left_s=entry.left_s,
    )
