"""When a table came where it is: the commits by which its cursors had first come so far."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dagster_project.lake.head import checkpointed
from dagster_project.lake.log import Commit, contents, parse
from dagster_project.lake.table import Table


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """How a cursor came to where it was first as far as was asked.

    Attributes:
        commit: that moved it there; `None` where the log does not spell it out any more.
        before: where it was until then; `None` if it was not there yet, or nobody knows.
    """

    commit: Commit | None = None
    before: int | None = None


class History:
    """The log of a table as of one version of it, to be asked for some cursors.

    A log of a month may have a million commits: checkpoints, which have all cursors, tell between which of them to look.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._known: dict[int, Mapping[str, int]] = {}

    @functools.cached_property
    def _names(self) -> Sequence[str]:
        paths = self._table.filesystem.ls(f"{self._table.uri}/_delta_log", detail=False)
        return [str(path).rpartition("/")[2] for path in paths]

    def arrival(self, name: str, value: int) -> Arrival | None:
        """The commit by which a cursor, which only grows, had come to a value; `None` if it is not there yet."""
        if not _reached(self._table.cursors(), name, value):
            return None
        checkpoints = [version for version in self._versions("checkpoint.parquet") if version <= self._table.version]
        below, there = -1, len(checkpoints)  # the last one where it is not there yet, and the first where it is
        while there - below > 1:
            middle = (below + there) // 2
            if _reached(self._cursors(checkpoints[middle]), name, value):
                there = middle
            else:
                below = middle
        last = checkpoints[there] if there < len(checkpoints) else self._table.version
        if below < 0:
            first, before = min(self._versions("json"), default=0), None
            if first > 0:  # the commits before it are gone, and the oldest checkpoint is there already
                return Arrival()
        else:
            first, before = checkpoints[below] + 1, self._cursors(checkpoints[below]).get(name)
        versions = range(first, last + 1)
        found = contents(self._table.filesystem, self._table.uri, versions)
        for version, content in zip(versions, found, strict=False):
            commit = parse(version, content)
            moved = commit.cursors.get(name)
            if moved is not None and moved >= value:
                return Arrival(commit=commit, before=before)
            before = before if moved is None else moved
        return Arrival()

    def commit(self, version: int) -> Commit | None:
        """One commit, `None` where the log does not spell it out any more."""
        found = next(contents(self._table.filesystem, self._table.uri, range(version, version + 1)), None)
        return None if found is None else parse(version, found)

    def _versions(self, kind: str) -> list[int]:
        matches = (re.fullmatch(rf"(\d{{20}})\.{re.escape(kind)}", name) for name in self._names)
        return sorted(int(match[1]) for match in matches if match)

    def _cursors(self, version: int) -> Mapping[str, int]:
        if version not in self._known:
            path = f"{self._table.uri}/_delta_log/{version:020d}.checkpoint.parquet"
            self._known[version] = checkpointed(self._table.filesystem, path)
        return self._known[version]


def _reached(cursors: Mapping[str, int], name: str, value: int) -> bool:
    return name in cursors and cursors[name] >= value
