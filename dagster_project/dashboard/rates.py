"""Rows a second by layer, from the commits that wrote them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# What the chart shows, and what one of its points covers: some runs commit each second, and some each few.
SPAN_S = 900
STEP_S = 10
# Commits that are read at a time, from the newest back: a minute of a busy table.
_PORTION = 64


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rows a second, each the mean over `step_s`; the last point is the last whole step.

    Attributes:
        at: seconds since the epoch, at which each step begins.
        layers: by layer, as many numbers as `at`.
        now: by layer, the mean over the last minute.
    """

    step_s: int
    at: tuple[int, ...]
    layers: Mapping[str, tuple[float, ...]]
    now: Mapping[str, float]


class CommitReader:
    """Rows that commits wrote to some tables: of each table, only its new commits are read."""

    def __init__(self, tables: Iterable[TableSpec], *, storage: Storage) -> None:
        self._tables = tuple(tables)
        self._storage = storage
        # By table, the version up to which commits were read, and by time in seconds how many rows each of them wrote.
        self._known: dict[str, tuple[int, deque[tuple[float, int]]]] = {}

    def read(self) -> Mapping[str, tuple[tuple[float, int], ...]]:
        """By layer, the time of each commit of the span, and how many rows it wrote.

        Raises:
            LakehouseError: a table cannot be read.
        """
        since = time.time() - SPAN_S - STEP_S
        found: dict[str, list[tuple[float, int]]] = {}
        for spec in self._tables:
            own = found.setdefault(spec.layer, [])
            table = Table.find(spec, storage=self._storage)
            if table is None:
                continue
            last, commits = self._known.get(table.uri, (-1, deque[tuple[float, int]]()))
            if last > table.version:  # made anew
                last, commits = -1, deque[tuple[float, int]]()
            if last < table.version:
                commits.extend(_since(table, last + 1, since))
            while commits and commits[0][0] < since:
                commits.popleft()
            self._known[table.uri] = table.version, commits
            own.extend(commits)
        return {layer: tuple(commits) for layer, commits in found.items()}


def _since(table: Table, first: int, since: float) -> list[tuple[float, int]]:
    """Commits from a version on that are not older than a time, the oldest first."""
    found: list[tuple[float, int]] = []
    end = table.version + 1
    oldest = max(first, table.first_commit() if first == 0 else first)
    while end > oldest:
        begin = max(oldest, end - _PORTION)
        try:
            portion = [
                (commit.timestamp_ms / 1000, int(commit.info.get("rows", 0)))
                for commit in table.commits(begin, end - 1)
            ]
        except FileNotFoundError:  # cleaned up meanwhile, and so older than what is asked for
            break
        found = [*((at, rows) for at, rows in portion if rows and at >= since), *found]
        if portion and portion[0][0] < since:
            break
        end = begin
    return found


def rates(commits: Mapping[str, Iterable[tuple[float, int]]], *, now: float) -> Rates:
    """Put commits into steps.

    Args:
        commits: by layer, when, in seconds since the epoch, and how many rows.
    """
    end = int(now) // STEP_S * STEP_S
    at = tuple(range(end - SPAN_S, end, STEP_S))
    layers: dict[str, tuple[float, ...]] = {}
    means: dict[str, float] = {}
    for layer, own in commits.items():
        rows = dict.fromkeys(at, 0)
        last = 0
        for moment, count in own:
            step = int(moment) // STEP_S * STEP_S
            if step in rows:
                rows[step] += count
            if now - _MINUTE_S < moment <= now:
                last += count
        layers[layer] = tuple(count / STEP_S for count in rows.values())
        means[layer] = last / _MINUTE_S
    return Rates(step_s=STEP_S, at=at, layers=layers, now=means)


_MINUTE_S = 60
