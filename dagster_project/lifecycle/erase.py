"""Erasing rows from every layer, history included.

The ledger has the offsets first. From then on nobody claims anything of them, and nobody reads them again; whatever is
killed in between, the next call finds by them what is still to be erased. Bronze goes first and Silver last, so that a run
which has read the rows before loses to a commit made here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

import polars as pl

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.keys import keys_of
from dagster_project.lake.rivals import until_first
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.lake.vacuum import unused
from dagster_project.ledger.ledger import Entry, Ledger, write
from dagster_project.lifecycle.find import Found, portions
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.gold import compute
from dagster_project.topics.offsets import Offsets, place

# Rows whose places are looked at at a time.
_ROWS = 2_000_000
# Cursor of Silver and quarantine: the version that was made without somebody. That it moves is what others lose to.
_FORGOTTEN = "forgotten"


@dataclass(frozen=True, kw_only=True)
class Erased:
    """What was erased by one call; all zero where an earlier one had done it.

    Attributes:
        rows: by table, rows taken out.
        files: of older versions, deleted from the store, also of earlier calls.
        kept: files of older versions that may be about to be committed, and so cannot be deleted yet.
        offsets: all that this dataset has ever forgotten.
        until: by when the broker has deleted the last of them, as the ledger says.
    """

    rows: dict[str, int]
    files: int
    kept: tuple[str, ...]
    offsets: Offsets
    until: str


def erase(
    dataset: Dataset,
    subject: Subject,
    found: Found,
    *,
    by: str,
    catalog: Catalog,
    storage: Storage,
    report: Callable[[str], None],
) -> Erased:
    """Erase the rows that were found, and all that earlier calls did not live to erase.

    Raises:
        StaleCursorError: others commit all the time; what was erased stays so, and the next call goes on.
        LakeError: the store cannot be read or written.
    """
    report(f"ledger/{dataset.name}: {len(found.offsets):,} offsets")
    ledger = until_first(lambda: _record(dataset, found, by=by, storage=storage))
    offsets = ledger.offsets("forgotten")
    if not offsets:
        return Erased(rows={}, files=0, kept=(), offsets=offsets, until="")
    versions = catalog.versions(dataset.name)
    layers = [specs.bronze(dataset), *(spec(one) for one in versions for spec in (specs.quarantine, specs.silver))]
    rows: dict[str, int] = {}
    for spec in layers:
        report(f"{spec.layer}/{spec.name}: the rows")
        rows[f"{spec.layer}/{spec.name}"] = until_first(lambda spec=spec: _take_out(spec, offsets, storage=storage))
    stale: list[tuple[TableSpec, set[str]]] = []
    for mart in catalog.marts_of(dataset.name):
        report(f"gold/{mart.name}: computed anew")
        before = _paths(specs.gold(mart), storage=storage)
        # Not even an append-only mart keeps what is to be forgotten.
        shrinking = replace(mart, append_only=False)
        until_first(lambda mart=shrinking: list(compute(mart, catalog=catalog, storage=storage, keys=None)))
        stale.append((specs.gold(mart), before - _paths(specs.gold(mart), storage=storage)))
    kept: list[str] = []
    for spec in [*layers, *map(specs.gold, catalog.marts_of(dataset.name))]:
        report(f"{spec.layer}/{spec.name}: older versions")
        table = Table.find(spec, storage=storage)
        held = {} if table is None else _holding_unused(table, subject, offsets)
        stale.append((spec, {path for path, may_go in held.items() if may_go}))
        kept += [f"{spec.layer}/{spec.name}/{path}" for path, may_go in held.items() if not may_go]
    deleted = sum(_delete(spec, paths, storage=storage) for spec, paths in stale)
    notes = ledger.rows.filter(pl.col("kind") == "forgotten")["note"].max()
    return Erased(rows=rows, files=deleted, kept=tuple(kept), offsets=offsets, until=str(notes or ""))


def _record(dataset: Dataset, found: Found, *, by: str, storage: Storage) -> Ledger:
    """Write what the ledger does not have yet; returns all that it has of what was forgotten."""
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if cursor is None:
        return Ledger()
    table = Table.open(specs.ledger(dataset), storage=storage)
    topic = cursor.topic(dataset.topic.name)
    known = Ledger.read(table, topic, kind="forgotten")
    fresh = found.offsets - known.offsets("forgotten")
    parts = {"bronze": fresh & found.bronze, "expired": fresh - found.bronze}
    entries = [
        Entry(offsets=offsets, kind="forgotten", note=_until(dataset, found), declared_by=by, place=name)
        for name, offsets in parts.items()
        if offsets
    ]
    if not entries:
        return known
    write(table, topic, entries, batch_id=cursor.batch_id, covered={})
    table.refresh()
    return Ledger.read(table, topic, kind="forgotten")


def _until(dataset: Dataset, found: Found) -> str:
    if dataset.topic.cleanup_policy == "compact":
        return "a delete of its key is compacted"
    assert found.newest is not None
    return f"{found.newest + dataset.topic.retention:%Y-%m-%d %H:%M} UTC"


def _take_out(spec: TableSpec, offsets: Offsets, *, storage: Storage) -> int:
    """Commit a table without the rows of some offsets; returns how many there were."""
    table = Table.find(spec, storage=storage)
    if table is None or not offsets:
        return 0
    held = _holding(table, table.files(), offsets)
    files = table.files().filter(pl.col("path").is_in(list(held)))
    exclusive = not spec.many_writers
    if files.is_empty() and not exclusive:
        return 0
    # Of the others one commit in any case: who has read what Bronze no longer has, and is about to write it, loses to it.
    touched = keys_of(files) if spec.layer == "silver" else []
    table.commit(
        _others(table, files, offsets),
        remove=files,
        cursors={_FORGOTTEN: table.version + 1} if exclusive else {},
        marks=[cursor_name("changed", key) for key in touched],
        metadata={"forgotten": sum(held.values())},
    )
    return sum(held.values())


def _others(table: Table, files: pl.DataFrame, offsets: Offsets) -> Iterator[pl.DataFrame]:
    """The rows of files that stay, a file at a time."""
    for file in files.iter_slices(1):
        rows = table.rows(file).collect(engine="in-memory")
        yield rows.filter(~_is_of(rows.select(place()).to_series(), offsets))


def _holding(table: Table, files: pl.DataFrame, offsets: Offsets) -> dict[str, int]:
    """By path, how many rows of some offsets a file has."""
    held: dict[str, int] = {}
    for part in portions(files, most=_ROWS):
        rows = table.rows(part, with_path=True).select(place(), "_path").collect(engine="in-memory")
        counts = rows.filter(_is_of(rows["_place"], offsets)).group_by("_path").len()
        held.update(counts.iter_rows())
    return held


def _holding_unused(table: Table, subject: Subject, offsets: Offsets) -> dict[str, bool]:
    """Files that the table has no longer and that have the subject, or rows of some offsets: whether each may be deleted."""
    held: dict[str, bool] = {}
    for path, may_go in unused(table).items():
        try:
            rows = table.rows(pl.DataFrame({"path": [quote(path)], "size_bytes": [0]})).collect(engine="in-memory")
        except FileNotFoundError:  # vacuumed meanwhile
            continue
        there = "_kafka_offset" in rows.columns and _is_of(rows.select(place()).to_series(), offsets).any()
        if there or subject.is_in(rows).any():
            held[path] = may_go
    return held


def _is_of(places: pl.Series, offsets: Offsets) -> pl.Series:
    return pl.Series(offsets.has(places.to_numpy()), dtype=pl.Boolean)


def _paths(spec: TableSpec, *, storage: Storage) -> set[str]:
    table = Table.find(spec, storage=storage)
    return set() if table is None else set(map(unquote, table.files()["path"]))


def _delete(spec: TableSpec, paths: set[str], *, storage: Storage) -> int:
    filesystem, deleted = storage.filesystem(), 0
    for path in sorted(paths):
        try:
            filesystem.rm_file(f"{storage.table(spec.layer, spec.name)}/{path}")
        except FileNotFoundError:
            continue
        deleted += 1
    return deleted
