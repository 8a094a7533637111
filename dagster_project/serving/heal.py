"""The cache made whole again from Gold: what it lost, what it missed while it was away, what went by itself."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagster_project.contract.model import Mart
from dagster_project.lake.table import Table
from dagster_project.serving.cache import Cache
from dagster_project.serving.entry import Entry, entries, renew
from dagster_project.serving.publish import GRACE, Published, publish


@dataclass(frozen=True, kw_only=True)
class Healed:
    """What one look found and did.

    Attributes:
        found: by mart what the cache had.
        published: what it lacked.
        left: marts that wait for the next look.
    """

    found: Mapping[str, Entry | None]
    published: Sequence[Published]
    left: Sequence[str]


def heal(marts: Sequence[Mart], golds: Mapping[str, Table | None], *, cache: Cache, seconds: float) -> Healed:
    """Publish what the cache lacks, and let live on what is as new as Gold. A mart of which Gold has nothing is left alone.

    Args:
        marts: that are served.
        golds: their tables, by `gold/<name>`.
        seconds: after which no further mart is begun.

    Raises:
        CacheError: the cache does not answer.
        LakeError: Gold cannot be read.
    """
    began, now = time.monotonic(), dt.datetime.now(dt.UTC)
    found = entries([mart.name for mart in marts], cache=cache)
    published: list[Published] = []
    left: list[str] = []
    lives: dict[str, dt.timedelta] = {}
    for mart in marts:
        gold, entry = golds[f"gold/{mart.name}"], found[mart.name]
        if gold is None or mart.serve is None:
            continue
        if entry is not None and entry.digest == gold.digest.hex():
            if entry.left_s < mart.serve.ttl.total_seconds() / 2:
                lives[mart.name] = mart.serve.ttl
        elif time.monotonic() - began > seconds:
            left.append(mart.name)
        elif now - gold.committed_at() > GRACE:  # whoever committed what is newer is about to publish it
            published.append(publish(mart, gold, cache=cache))
    if lives:
        renew(lives, cache=cache)
    return Healed(found=found, published=published, left=left)
