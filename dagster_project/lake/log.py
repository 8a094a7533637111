"""The Delta log as a table's writers and readers use it: its commits, one file each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import fsspec

from dagster_project.lake import meter

# Commits that are fetched at once: a store answers in tens of milliseconds, and a process that begins reads up to a
# hundred of each table. Contents of no more than these are held.
READERS = 16


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One version of a table.

    Attributes:
        timestamp_ms: when it was committed, since the epoch; 0 where its writer did not say.
        info: what its writer says of it.
        cursors: those that it moved.
        upgrade: it asks more of a writer than the commits before it.
    """

    version: int
    timestamp_ms: int
    info: Mapping[str, Any]
    cursors: Mapping[str, int]
    upgrade: bool = False

    @property
    def only_columns(self) -> bool:
        """Whether it did nothing but add columns to the table."""
        return self.info.get("operation") == "ADD COLUMN"


def path_of(uri: str, version: int) -> str:
    """Where the log of a table keeps a commit."""
    return f"{uri}/_delta_log/{version:020d}.json"


def commits(filesystem: fsspec.AbstractFileSystem, uri: str, first: int, last: int) -> Iterator[Commit]:
    """Commits `first` to `last`, both included.

    Raises:
        FileNotFoundError: a commit is no longer in the log.
    """
    found = first
    for found, content in enumerate(contents(filesystem, uri, range(first, last + 1)), first + 1):
        yield parse(found - 1, content)
    if found <= last:
        raise FileNotFoundError(path_of(uri, found))


def contents(filesystem: fsspec.AbstractFileSystem, uri: str, versions: range) -> Iterator[bytes]:
    """Commits as they are written, up to the first that is not there."""
    if not versions:
        return
    with ThreadPoolExecutor(min(READERS, len(versions))) as pool:
        for start in range(0, len(versions), READERS):
            portion = versions[start : start + READERS]
            found = list(pool.map(partial(_content, filesystem), (path_of(uri, version) for version in portion)))
            for content in found:
                if content is None:
                    return
                yield content


def _content(filesystem: fsspec.AbstractFileSystem, path: str) -> bytes | None:
    try:
        content = filesystem.cat_file(path)
    except FileNotFoundError:
        meter.asked()
        return None
    assert isinstance(content, bytes)
    meter.got(len(content))
    return content


def parse(version: int, content: bytes) -> Commit:
    """One commit."""
    cursors: dict[str, int] = {}
    info: dict[str, Any] = {}
    upgrade = False
    for line in content.splitlines():
        # Only these actions matter here, and most lines are long `add`s.
        if line.startswith(b'{"txn"'):
            action = json.loads(line)["txn"]
            cursors[action["appId"]] = action["version"]
        elif line.startswith(b'{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
        elif line.startswith(b'{"protocol"'):
            upgrade = True
    return Commit(version=version, timestamp_ms=info.get("timestamp", 0), info=info, cursors=cursors, upgrade=upgrade)
