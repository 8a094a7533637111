"""From Gold to the cache: what the cache lacks of a mart, found by comparing the two, and never at a run's cost.

After a commit, after a cache that was away, or by hand: it is always the same work, and done twice it changes nothing.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from dagster_project.contract.model import Mart, Serve
from dagster_project.errors import LakehouseError
from dagster_project.lake.table import Table
from dagster_project.refine.parts import parts, published
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import Entry, entries, put
from dagster_project.serving.format import batches_of, schema_of
from dagster_project.serving.window import window

State = Literal["published", "current", "outpaced", "too large", "not served", "no cache", "unavailable"]
# A publication follows its commit within milliseconds; with all time-outs within this.
GRACE = dt.timedelta(seconds=2)
_LOGGER = logging.getLogger(__name__)
# Whoever came in between has mostly published the same; a third try is against chance.
_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Published:
    """What became of one mart.

    Attributes:
        version: of Gold.
        state: `current`: the cache had it; `outpaced`: it has what is newer.
        partitions, rows, size: table partitions, rows and bytes that were sent.
        since: since when the cache is not available, where it is not.
        reason: why it could not be published.
    """

    mart: str
    version: int
    state: State
    partitions: int = 0
    rows: int = 0
    size: int = 0
    seconds: float = 0.0
    since: dt.datetime | None = None
    reason: str = ""

    def __str__(self) -> str:
        match self.state:
            case "published":
                return (
                    f"version {self.version}: {self.partitions} table partitions, {self.rows} rows, {self.size} bytes"
                )
            case "unavailable":
                return f"unavailable since {self.since:%Y-%m-%d %H:%M:%S} UTC: {self.reason}"
            case state:
                return state


def publish(mart: Mart, gold: Table, *, cache: Cache) -> Published:
    """Bring the cache to where Gold is. What fails is logged and told, and not raised: readers have Gold."""
    began = time.monotonic()
    done = Published(mart=mart.name, version=gold.version, state="not served")
    if mart.serve is None:
        return done
    try:
        done = _published(mart, mart.serve, gold, cache) if cache.there else replace(done, state="no cache")
    except (LakehouseError, OSError, pl.exceptions.PolarsError) as error:
        reason = error.found if isinstance(error, LakehouseError) else str(error)
        since = (cache.since if cache.there else None) or dt.datetime.now(dt.UTC)
        done = replace(done, state="unavailable", since=since, reason=reason)
        # Once for each time that it is away: a run that follows a stream would say it twice a second, mart by mart.
        _LOGGER.log(
            logging.DEBUG if since == cache.told else logging.WARNING,
            "gold/%s is not published to the cache: %s",
            mart.name,
            reason,
        )
        cache.told = since
    return replace(done, seconds=time.monotonic() - began)


def _published(mart: Mart, serve: Serve, gold: Table, cache: Cache) -> Published:
    done = Published(mart=mart.name, version=gold.version, state="outpaced")
    for _ in range(_TRIES):
        base = entries([mart.name], cache=cache)[mart.name]
        if base is not None and base.digest == gold.digest.hex():
            return replace(done, state="current")
        if base is not None and (base.created_ms, base.version) > (gold.created_ms, gold.version):
            return done
        part = window(mart, gold.files(), max_rows=serve.max_rows)
        entry = Entry(
            created_ms=gold.created_ms,
            version=gold.version,
            digest=gold.digest.hex(),
            published_at=dt.datetime.now(dt.UTC),
            window=part,
            schema=schema_of(pl.DataFrame(schema=dict(gold.spec.schema))),
        )
        known = base.window.tokens if base is not None and base.schema == entry.schema else {}
        changed = [key for key, token in part.tokens.items() if known.get(key) != token]
        rows = published(gold, changed)
        batches = {key: batches_of(own) for key, own in parts(mart, rows).items()}
        verdict = put(mart.name, entry, batches, base=base, ttl=serve.ttl, cache=cache)
        if verdict == "published":
            size = sum(map(len, batches.values()))
            state = "published" if part.fits else "too large"
            return replace(done, state=state, partitions=len(batches), rows=len(rows), size=size)
        if verdict == "outpaced":
            return done
    return done
