"""The head of a table: its newest version and its cursors.

Delta's `txn` actions hold one number for each application id. They outlive log clean-up, because checkpoints carry
them, and two writers that move the same one conflict. Finding all of them takes as long on a table with ten thousand
files as on an empty one: only the commits since the last look are read, never the list of files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import fsspec
import polars as pl

from dagster_project.errors import LakeError
from dagster_project.lake import meter
from dagster_project.lake.log import READERS, contents, parse, path_of


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest version of a table.

    Attributes:
        cursors: all of them, as of this version.
        digest: of the version's own commit, which tells it from the same version of a table that was made anew.
    """

    version: int
    cursors: Mapping[str, int]
    digest: bytes


class HeadReader:
    """Finds the heads of tables, and reads only the new commits at each further look."""

    def __init__(self, filesystem: fsspec.AbstractFileSystem) -> None:
        self._filesystem = filesystem
        self._known: dict[str, Head] = {}

    def newest(self, uri: str) -> Head | None:
        """The head of the table at a URI, or `None` while there is none."""
        known = self._known.get(uri)
        head = None if known is None else self._advanced(uri, known)
        if head is None:
            try:
                head = self._from_listing(uri)
            except FileNotFoundError:  # cleaned up between listing and reading: a newer checkpoint stands in
                head = self._from_listing(uri)
        if head is not None:
            # Without a lock: of two threads that read the same table the later one repeats what the earlier has found.
            self._known[uri] = head
        return head

    def _advanced(self, uri: str, known: Head) -> Head | None:
        """The head from a former one on; `None` if the log no longer holds that."""
        first, count = known.version, 2  # mostly nothing is new: the known commit is there, and the next one is not
        seen: list[bytes] = []
        while True:
            found = list(contents(self._filesystem, uri, range(first, first + count)))
            seen += found
            if first == known.version and (not found or _digest(found[0]) != known.digest):
                return None
            if len(found) < count:
                break
            first, count = first + count, min(2 * count, READERS)
        if len(seen) == 1:
            return known
        return _moved(known.cursors, seen[1:], first=known.version + 1)

    def _from_listing(self, uri: str) -> Head | None:
        checkpoints: dict[int, str] = {}
        last = -1
        try:
            paths = self._filesystem.ls(f"{uri}/_delta_log", detail=False)
        except FileNotFoundError:
            meter.listed(0)
            return None
        meter.listed(len(paths))
        for path in map(str, paths):
            name = path.rpartition("/")[2]
            if match := re.fullmatch(r"(\d{20})\.json", name):
                last = max(last, int(match[1]))
            elif match := re.fullmatch(r"(\d{20})\.checkpoint\.parquet", name):
                checkpoints[int(match[1])] = path
            elif ".checkpoint." in name:
                raise LakeError(
                    f"checkpoint {path}",
                    expected="a classic checkpoint in one file",
                    remedy="have the writer of this table write classic checkpoints (delta.checkpointPolicy=classic)",
                )
        if last < 0:
            return None
        base = max((version for version in checkpoints if version <= last), default=-1)
        cursors = {} if base < 0 else checkpointed(self._filesystem, checkpoints[base])
        since = range(min(base + 1, last), last + 1)  # the newest commit is needed even where a checkpoint is as new
        found = list(contents(self._filesystem, uri, since))
        if len(found) < len(since):
            raise FileNotFoundError(path_of(uri, since.start + len(found)))
        return _moved(cursors, found, first=since.start)


def checkpointed(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, int]:
    """All cursors as of a checkpoint."""
    with filesystem.open(path, "rb") as file:
        content = file.read()
    meter.got(len(content))
    meter.asked()  # how long it is, before it is read
    actions = pl.read_parquet(content, columns=["txn"])["txn"].drop_nulls()
    return {action["appId"]: action["version"] for action in actions if action["appId"] is not None}


def _moved(cursors: Mapping[str, int], news: Iterable[bytes], *, first: int) -> Head:
    """The head after some commits, of which there is at least one."""
    moved, version, content = dict(cursors), first, b""
    for version, content in enumerate(news, first):
        moved.update(parse(version, content).cursors)
    return Head(version=version, cursors=moved, digest=_digest(content))


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
