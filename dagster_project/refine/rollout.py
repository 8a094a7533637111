"""A major version takes over from another: started beside it, promoted, rolled back, and the older one retired.

What readers see changes in one step, the next object of `lake/releases.py`. Before it the table that they read is sealed and
the other one catches up with it, so that no reader ever sees an older state than before. All steps can be done again.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from dagster_project.contract.model import Catalog, Dataset, table_of
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.releases import Release, move
from dagster_project.lake.retire import remove
from dagster_project.lake.serving import state
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.holds import holds, is_in
from dagster_project.refine.inherit import inherit
from dagster_project.refine.plan import pending_files, progress
from dagster_project.refine.seal import is_sealed, seal
from dagster_project.refine.silver import refine

# While a table is sealed its readers get nothing new. What is left to be read then came in the last seconds.
_PATIENCE_S, _PAUSE_S = 120.0, 0.2
# Table partitions that an error names.
_NAMED = 5


def start(catalog: Catalog, name: str, *, storage: Storage) -> Release:
    """Let the newer version be written from now on; it is read by nobody yet.

    Raises:
        LakeError: there is no newer version, or what has expired in Bronze does not fit it.
        StaleCursorError: somebody else has released the dataset in this moment.
    """
    older, newer = pair(catalog, name)
    before = state(catalog, name, storage=storage)
    inherit(older, newer, storage=storage)
    if newer.major in before.written:
        return before
    both = (older.major, newer.major)
    after = move(before, name=name, serves=before.serves, written=both, action="start", storage=storage)
    # From now on nothing expires that the newer version has not read; meanwhile something may have.
    inherit(older, newer, storage=storage)
    return after


def take_over(
    catalog: Catalog, name: str, *, back: bool, storage: Storage, report: Callable[[str], None] = lambda _: None
) -> Release:
    """Let readers have the newer version, or the older one again; both go on to be written.

    Args:
        report: told each step.

    Raises:
        LakeError: the version was not started, or cannot catch up.
        StaleCursorError: somebody else has released the dataset in this moment.
    """
    older, newer = pair(catalog, name)
    target, current = (older, newer) if back else (newer, older)
    before = state(catalog, name, storage=storage)
    if target.major not in before.written:
        raise _refuse(
            name,
            f"version {target.version} is not written",
            f"run `lakehouse release start {name}`; a version that was retired has to be built anew",
        )
    table = Table.find(specs.silver(current), storage=storage)
    if before.serves == target.major:
        if table is not None:
            seal(table, closed=False)  # of a run that was killed after its last step but one
        return before
    report(f"silver/{target.table}: catching up with silver/{current.table}")
    _catch_up(target, table, storage=storage)
    if table is None:
        return _move(before, target, storage=storage, back=back)
    report(f"silver/{current.table}: sealed")
    try:
        seal(table, closed=True)
        _catch_up(target, table, storage=storage)
        table.refresh()
        if not is_sealed(table):
            raise StaleCursorError(
                f"silver/{current.table} was opened by another run of this command",
                expected="one at a time; nothing was changed",
                remedy="run it again",
            )
        return _move(before, target, storage=storage, back=back)
    finally:
        seal(table, closed=False)
        report(f"silver/{current.table}: open again")


def retire(catalog: Catalog, name: str, *, storage: Storage) -> tuple[Release, list[str]]:
    """Stop to write what is older than the version that serves, and delete its tables.

    Returns:
        The new state, and the tables that were deleted.

    Raises:
        LakeError: the older version still serves.
    """
    now = state(catalog, name, storage=storage)
    if now.number == 0 or now.serves < max(now.written):
        raise _refuse(
            name, f"version {now.serves} serves", f"promote the newer one first: `lakehouse release promote {name}`"
        )
    if now.written != (now.serves,):
        now = move(now, name=name, serves=now.serves, written=(now.serves,), action="retire", storage=storage)
    old = dict.fromkeys(table_of(name, major) for major in range(now.serves))
    return now, [
        f"{layer}/{table}" for table in old for layer in ("quarantine", "silver") if remove(storage, layer, table)
    ]


def pair(catalog: Catalog, name: str) -> tuple[Dataset, Dataset]:
    """The two major versions of a dataset.

    Raises:
        LakeError: there is only one.
    """
    versions = catalog.versions(name)
    if len(versions) == 1:
        raise _refuse(
            name,
            f"one contract, of version {versions[0].version}",
            f"add a contract of the next major version beside {versions[0].source.name}",
        )
    return versions[0], versions[1]


def _move(before: Release, target: Dataset, *, storage: Storage, back: bool) -> Release:
    action = "rollback" if back else "promote"
    return move(before, name=target.name, serves=target.major, written=before.written, action=action, storage=storage)


def _catch_up(target: Dataset, current: Table | None, *, storage: Storage) -> None:
    """Refine until nothing is left of what the current table was made from."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            for _ in refine(target, storage=storage, keys=None):
                pass
        except StaleCursorError:
            time.sleep(_PAUSE_S)  # the daemon's own run does the same
        silver = Table.find(specs.silver(target), storage=storage)
        behind = _behind(target, silver, current, storage=storage)
        if not behind:
            return
        held = () if silver is None else [key for key in behind if is_in(key, holds(silver.cursors()))]
        if held:
            named = ", ".join(map(str, held[:_NAMED]))
            raise _refuse(
                target.name,
                f"version {target.version} holds back {len(held)} table partitions that readers have, such as {named}",
                f"see `lakehouse quarantine list {target.table}`, and mend the rules or the data",
            )
        if time.monotonic() > deadline:
            raise _refuse(
                target.name,
                f"version {target.version} has not caught up in {len(behind)} table partitions",
                f"let the daemon finish catch_up_{target.table}, and run this again",
            )


def _behind(target: Dataset, silver: Table | None, current: Table | None, *, storage: Storage) -> list[Key]:
    """Table partitions with Bronze rows that the current table has read and the target has not."""
    bronze = Table.find(specs.bronze(target), storage=storage)
    if bronze is None or current is None:
        return []
    read = progress(current)
    files = pending_files(target, bronze, progress(silver))
    through = [read.get(Key(*key), -1) for key in files.select(specs.KEYS).iter_rows()]
    files = files.with_columns(pl.Series("_through", through, pl.Int64))
    return keys_of(files.filter(pl.col("_done") < pl.col("_through"), pl.col("min._batch_id") <= pl.col("_through")))


def _refuse(name: str, found: str, remedy: str) -> LakeError:
    return LakeError(f"{name}: {found}", expected="a newer major version that is ready to take over", remedy=remedy)
