"""Cursors in the Delta log: what a table was computed from, committed with its rows.

Delta's `txn` actions hold one number for each application id. They outlive log clean-up, because checkpoints carry
them, and two writers that move the same one conflict. delta-rs looks up one id at a time; planning needs all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import fsspec
import polars as pl

from dagster_project.errors import LakeError

# Commits that are fetched at once: a store answers in tens of milliseconds, and a process that begins reads up to a
# hundred of each table. Contents of no more than these are held.
_READERS = 16


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One version of a table.

    Attributes:
        timestamp_ms: when it was committed, since the epoch; 0 where its writer did not say.
        info: what its writer says of it.
        cursors: those that it moved.
    """

    version: int
    timestamp_ms: int
    info: Mapping[str, Any]
    cursors: Mapping[str, int]


class CursorReader:
    """Reads all cursors of tables, and only the new commits at each further look."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._known: dict[str, tuple[int, dict[str, int]]] = {}  # by table id: version, cursors

    def cursors(self, *, uri: str, table_id: str, version: int) -> Mapping[str, int]:
        """All cursors as of a version."""
        known = self._known.get(table_id)
        if known is not None and known[0] == version:
            return known[1]
        if known is None or known[0] > version:
            known = self._from_checkpoint(uri, version)
        try:
            since = list(commits(self._filesystem, uri, known[0] + 1, version))
        except FileNotFoundError:  # cleaned up since: a checkpoint stands in for the missing commits
            known = self._from_checkpoint(uri, version)
            since = list(commits(self._filesystem, uri, known[0] + 1, version))
        cursors = dict(known[1])
        for commit in since:
            cursors.update(commit.cursors)
        # Without a lock: of two threads that read the same table the later one repeats what the earlier one has found.
        self._known[table_id] = (version, cursors)
        return cursors

    def _from_checkpoint(self, uri: str, version: int) -> tuple[int, dict[str, int]]:
        versions: dict[int, str] = {}
        for path in map(str, self._filesystem.glob(f"{uri}/_delta_log/*.checkpoint*.parquet")):
            match = re.search(r"/(\d{20})\.checkpoint\.parquet$", path)
            if match is None:
                raise LakeError(
                    f"checkpoint {path}",
                    expected="a classic checkpoint in one file",
                    remedy="have the writer of this table write classic checkpoints (delta.checkpointPolicy=classic)",
                )
            versions[int(match[1])] = path
        usable = [candidate for candidate in versions if candidate <= version]
        if not usable:
            return -1, {}
        with self._filesystem.open(versions[max(usable)], "rb") as file:
            actions = pl.read_parquet(file.read(), columns=["txn"])["txn"].drop_nulls()
        return max(usable), {action["appId"]: action["version"] for action in actions if action["appId"] is not None}


def commits(filesystem: fsspec.AbstractFileSystem, uri: str, first: int, last: int) -> Iterator[Commit]:
    """Commits `first` to `last`, both included.

    Raises:
        FileNotFoundError: a commit is no longer in the log.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        for start in range(first, last + 1, _READERS):
            versions = range(start, min(start + _READERS, last + 1))
            names = [f"{uri}/_delta_log/{version:020d}.json" for version in versions]
            yield from map(_commit, versions, pool.map(partial(_content, filesystem), names))


def _content(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes:
    content = filesystem.cat_file(path)
    assert isinstance(content, bytes)
    return content


def _commit(version: int, content: bytes) -> Commit:
    cursors: dict[str, int] = {}
    info: dict[str, Any] = {}
    for line in content.splitlines():
        # Only these two actions matter here, and most lines are long `add`s.
        if line.startswith(b'{"txn"'):
            action = json.loads(line)["txn"]
            cursors[action["appId"]] = action["version"]
        elif line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
    return Commit(version=version, timestamp_ms=info.get("timestamp", 0), info=info, cursors=cursors)
