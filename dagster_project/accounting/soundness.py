"""Whether a table's log and files are whole, by listing them once: a table that is not is named, and read as far as it can be."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

import fsspec
import polars as pl

from dagster_project.errors import LakehouseError
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# Files that one table's problems name.
_NAMED = 5
_COMMIT = re.compile(r"/_delta_log/(\d{20})\.(json|checkpoint\.parquet)$")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What can be read of a table.

    Attributes:
        table: `None` while nothing was ever written, or if its log is not whole.
        files: rows of `Table.files` whose files are there, as long as the log says.
        problems: what is missing.
    """

    table: Table | None
    files: pl.DataFrame
    problems: tuple[str, ...] = ()


def examine(spec: TableSpec, *, storage: Storage, thorough: bool) -> Evidence:
    """Compare a table's log with what is stored.

    Args:
        thorough: read each file to its end as well.
    """
    found = _examine(spec, storage=storage, thorough=thorough)
    # A listing is not of one moment: what somebody commits or cleans up meanwhile may look like a hole, but only once.
    return _examine(spec, storage=storage, thorough=thorough) if found.problems else found


def _examine(spec: TableSpec, *, storage: Storage, thorough: bool) -> Evidence:
    name = f"{spec.layer}/{spec.name}"
    uri = storage.table(spec.layer, spec.name)
    filesystem = storage.filesystem()
    # The table before the listing: its files were all there by then.
    table, files, failure = None, pl.DataFrame(), ""
    try:
        table = Table.find(spec, storage=storage)
        files = files if table is None else table.files()
    except LakehouseError as error:
        table, failure = None, error.found
    try:
        listed = cast("dict[str, dict[str, Any]]", filesystem.find(uri, detail=True))
        stored = {path: int(info["size"] or 0) for path, info in listed.items()}
    except FileNotFoundError:
        stored = {}
    problems = _log_problems(name, stored) or ([failure] if failure else [])
    if problems or table is None:
        return Evidence(table=None, files=pl.DataFrame(), problems=tuple(problems))
    # Listings of object stores name the bucket, not the scheme; `_delta_log` tells where the table's own part begins.
    root = next((path.partition("/_delta_log/")[0] for path in stored if "/_delta_log/" in path), uri)
    sizes = {path.removeprefix(f"{root}/"): size for path, size in stored.items()}
    reasons = [
        _damage(table, files[row], sizes.get(unquote(path), -1), thorough=thorough)
        for row, path in enumerate(files["path"])
    ]
    judged = files.with_columns(pl.Series("_reason", reasons, pl.String))
    bad = judged.filter(pl.col("_reason") != "")
    if bad.is_empty():
        return Evidence(table=table, files=files)
    versions = _versions(table, set(bad["path"]), filesystem)
    for path, reason in bad.select("path", "_reason").head(_NAMED).iter_rows():
        version = versions.get(path)
        of = "its log" if version is None else f"version {version}"
        problems.append(f"{name}: file {path} of {of} {reason}")
    if len(bad) > _NAMED:
        problems.append(f"{name}: {len(bad) - _NAMED} more files are missing or damaged")
    return Evidence(table=table, files=files.join(bad.select("path"), on="path", how="anti"), problems=tuple(problems))


def _damage(table: Table, file: pl.DataFrame, size: int, *, thorough: bool) -> str:
    """What is wrong with one file, a row of `Table.files`; empty if nothing is."""
    if size < 0:
        return "is missing"
    if size != (wanted := file["size_bytes"][0]):
        return f"has {size} bytes, not {wanted}"
    if thorough:
        try:
            table.rows(file).collect(engine="in-memory")
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            return "cannot be read: " + str(error).partition("\n")[0]
    return ""


def _log_problems(name: str, stored: Mapping[str, int]) -> list[str]:
    """Commits that are missing: from the oldest one that the log has, or the first ever, up to the newest."""
    commits: set[int] = set()
    checkpoints: set[int] = set()
    for path in stored:
        if (match := _COMMIT.search(path)) is not None:
            (commits if match[2] == "json" else checkpoints).add(int(match[1]))
    if not commits | checkpoints:
        return [f"{name}: its log is missing, its files are there"] if stored else []
    # Clean-up takes commits away from the oldest on, and only those that a checkpoint stands in for.
    oldest = min(commits, default=max(checkpoints, default=0)) if checkpoints else 0
    if checkpoints and oldest > max(checkpoints) + 1:
        oldest = max(checkpoints) + 1
    missing = sorted(set(range(oldest, max(commits | checkpoints) + 1)) - commits - ({max(checkpoints, default=-1)}))
    return [f"{name}: commit {version} is missing from its log" for version in missing[:_NAMED]]


def _versions(table: Table, paths: set[str], filesystem: fsspec.AbstractFileSystem) -> dict[str, int]:
    """The versions that added files, where the log still spells them out."""
    found: dict[str, int] = {}
    for version in range(table.first_commit(), table.version + 1):
        try:
            content = filesystem.cat_file(f"{table.uri}/_delta_log/{version:020d}.json")
        except FileNotFoundError:
            continue
        assert isinstance(content, bytes)
        for line in content.splitlines():
            if line.startswith(b'{"add"'):
                path = json.loads(line)["add"]["path"]
                if path in paths:
                    found[path] = version
    return found
