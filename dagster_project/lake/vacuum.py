"""Vacuum: files that no reader and no writer can still need are deleted from the store.

Which ones, Delta's own rules say. They are deleted here and not by delta-rs, whose vacuum commits twice to each table: a
writer of Silver would find its version taken, by something that does not concern it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import polars as pl

from dagster_project.errors import LakeError
from dagster_project.lake import meter
from dagster_project.lake.table import Table

# A week, Delta's own default: far longer than any run or query that still reads an older version or has written files that
# it has not committed yet, and long enough to look at last week's table. Checkpoints forget removed files after a week, so
# more would need a property of the tables.
KEPT_HOURS = 168
_LOG = "_delta_log/"
# A run commits what it has written within minutes.
_IN_FLIGHT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a table takes up in the store: all of its data files, those of its newest version, and its log."""

    files: int
    bytes: int
    live_files: int
    live_bytes: int
    log_files: int
    log_bytes: int


def measure(table: Table) -> Footprint:
    """List a table's files."""
    stored = _stored(table)
    log = {path: size for path, size in stored.items() if path.startswith(_LOG)}
    live = table.files()
    return Footprint(
        files=len(stored) - len(log),
        bytes=sum(stored.values()) - sum(log.values()),
        live_files=len(live),
        live_bytes=int(live["size_bytes"].sum()),
        log_files=len(log),
        log_bytes=sum(log.values()),
    )


def vacuum(table: Table, *, kept_hours: int = KEPT_HOURS, rehearse: bool = False) -> Mapping[str, int]:
    """Delete files that no version of the last hours has and that are older than that; safe beside any writer.

    Args:
        kept_hours: more than any run or query takes.
        rehearse: delete nothing.

    Returns:
        The files, relative to the table, and their bytes.

    Raises:
        LakeError: the store cannot be listed or written; what is left is found by the next vacuum.
    """
    # `full`: also files of writers that were killed before their commit, which no log knows.
    found = table.delta.vacuum(kept_hours, dry_run=True, enforce_retention_duration=False, full=True)
    if live := set(found) & set(map(unquote, table.files()["path"])):
        raise LakeError(
            f"{table.spec.layer}/{table.spec.name}: {len(live)} files of the newest version were to be vacuumed",
            expected="only files that the table has no more; nothing was deleted",
            remedy="report this with the table's log",
        )
    stored = _stored(table)
    stale = {path: stored[path] for path in sorted(found) if path in stored}
    if stale and not rehearse:
        try:
            table.filesystem.rm([f"{table.uri}/{path}" for path in stale])
        except FileNotFoundError:  # another vacuum was there first
            return {**stale, **vacuum(table, kept_hours=kept_hours)}
    return stale


def unused(table: Table) -> dict[str, bool]:
    """Data files, relative to the table, that its newest version does not have, and whether they may be deleted at once.

    They may if they were part of the table, or are so old that no run can still be about to add them.
    """
    stored = [path for path in _stored(table) if not path.startswith(_LOG)]
    table.refresh()  # what was added meanwhile is in it
    live = set(map(unquote, table.files()["path"]))
    before, was = time.time() - _IN_FLIGHT_S, _taken_out(table)
    return {
        path: path in was or _written(table, path) < before for path in stored if path not in live and path[-1] != "/"
    }


def _written(table: Table, path: str) -> float:
    """When a file was written, in seconds since the epoch; now if it is gone."""
    try:
        return table.filesystem.modified(f"{table.uri}/{path}").timestamp()
    except FileNotFoundError:
        return time.time()


def _taken_out(table: Table) -> set[str]:
    """Files that were part of the table, as far as its log reaches back."""
    found: set[str] = set()
    for path in map(str, table.filesystem.find(f"{table.uri}/{_LOG}")):
        if not path.endswith((".json", ".checkpoint.parquet")):
            continue
        try:
            content = table.filesystem.cat_file(path)
        except FileNotFoundError:  # tidied up meanwhile
            continue
        assert isinstance(content, bytes)
        if path.endswith(".json"):
            lines = (json.loads(line) for line in content.splitlines() if line.startswith(b'{"remove"'))
            found.update(unquote(line["remove"]["path"]) for line in lines)
        else:
            removed = pl.read_parquet(content, columns=["remove"])["remove"].struct.field("path")
            found.update(map(unquote, removed.drop_nulls()))
    return found


def tidy_log(table: Table) -> int | None:
    """Write a checkpoint of the newest version, and delete what is older than Delta's log retention of 30 days.

    Cursors stay: checkpoints carry them. Returns the version of the checkpoint, `None` where there was one.
    """
    path = f"{table.uri}/{_LOG}{table.version:020d}.checkpoint.parquet"
    fresh = not table.filesystem.exists(path)
    if fresh:
        table.delta.create_checkpoint()
        meter.checkpointed()
    table.delta.cleanup_metadata()
    return table.version if fresh else None


def _stored(table: Table) -> dict[str, int]:
    """Files below the table, by path, with their bytes."""
    root = table.uri.removeprefix("s3://")
    listed = cast("dict[str, dict[str, Any]]", table.filesystem.find(root, detail=True))
    meter.listed(len(listed))
    return {path.removeprefix(f"{root}/"): int(info["size"] or 0) for path, info in listed.items()}
