"""What Bronze's newest commits say of their messages: how many were poison, and how many had unknown fields.

A process that stands reads each commit once, however often it looks.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from dagster_project.lake.log import READERS, Commit
from dagster_project.lake.table import Table

# A stream that trickles commits once a second, a slow one once in a while; and a burst that is over soon looks so.
WINDOW = dt.timedelta(minutes=2)
# Commits that a process which has just begun looks back for: the window of a stream that trickles, and some more.
_MOST = 160


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """The messages of one commit."""

    at: dt.datetime
    rows: int
    poison: int
    drifted: int


# By table, the version that was read last, and what is in the window that ends with it.
_SEEN: dict[str, tuple[int, tuple[Arrival, ...]]] = {}


def arrivals(bronze: Table) -> tuple[Arrival, ...]:
    """What has arrived within the window that ends with the newest messages, in order."""
    version, known = _SEEN.get(bronze.uri, (-1, ()))
    if version > bronze.version:  # the table was made anew
        version, known = -1, ()
    found = (*known, *_news(bronze, max(version + 1, bronze.version + 1 - _MOST)))
    if found:
        found = tuple(arrival for arrival in found if arrival.at > found[-1].at - WINDOW)
    _SEEN[bronze.uri] = bronze.version, found
    return found


def _news(bronze: Table, first: int) -> list[Arrival]:
    """Arrivals of the commits from a version on; from the newest back, as the log may be without old ones."""
    found: list[Arrival] = []
    last = bronze.version
    while last >= first and (not found or found[0].at > found[-1].at - WINDOW):
        begin = max(first, last + 1 - READERS)
        try:
            found = [*_arrivals(bronze.commits(begin, last)), *found]
        except FileNotFoundError:
            break
        last = begin - 1
    return found


def _arrivals(commits: Iterable[Commit]) -> list[Arrival]:
    return [
        Arrival(
            at=dt.datetime.fromtimestamp(commit.timestamp_ms / 1000, dt.UTC),
            rows=int(commit.info["rows"]),
            poison=int(commit.info.get("poison", 0)),
            drifted=int(commit.info.get("drifted", 0)),
        )
        for commit in commits
        if int(commit.info.get("rows", 0))  # only an ingest's commits have them
    ]
