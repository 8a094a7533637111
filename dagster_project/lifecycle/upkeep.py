"""Upkeep of one table: small files merged, unused ones deleted, a checkpoint written and the log cut short; all measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dagster_project.lake.compaction import Compacted, compact
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.lake.vacuum import KEPT_HOURS, Footprint, measure, tidy_log, vacuum

_GB = 2**30


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """What was done to a table, or would be.

    Attributes:
        compacted: one for each commit of the compaction.
        vacuumed_files, vacuumed_bytes: deleted from the store.
        checkpoint: the version that one was written of; `None` if the newest version had one.
        saved_usd_per_month: what the store costs less than before; below zero where merged files stand beside the small
            ones until these are old enough to be vacuumed.
    """

    table: str
    before: Footprint
    after: Footprint
    compacted: tuple[Compacted, ...]
    vacuumed_files: int
    vacuumed_bytes: int
    checkpoint: int | None
    saved_usd_per_month: float


def usd_per_month(size: int, usd_per_gb_month: float) -> float:
    """What so many bytes cost, to a millionth of a dollar."""
    return round(size / _GB * usd_per_gb_month, 6) + 0.0  # no minus before a zero


def tend(
    spec: TableSpec,
    *,
    storage: Storage,
    usd_per_gb_month: float,
    kept_hours: int = KEPT_HOURS,
    rehearse: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> Upkeep | None:
    """Tend a table; `None` while nothing was ever written. Safe beside ingest and refine, and after a kill at any point.

    Args:
        kept_hours: how long files stay that the table has no more.
        rehearse: only tell what would be done.
        report: told each step.

    Raises:
        LakeError: the store cannot be read or written.
    """
    table = Table.find(spec, storage=storage)
    if table is None:
        return None
    name = f"{spec.layer}/{spec.name}"
    before = measure(table)
    commits: list[Compacted] = []
    for done in compact(spec, storage=storage, rehearse=rehearse):
        report(f"{name}: {done.files} files of {done.bytes:,} bytes → {done.into}")
        commits.append(done)
    table.refresh()
    stale = vacuum(table, kept_hours=kept_hours, rehearse=rehearse)
    report(f"{name}: {len(stale)} files of {sum(stale.values()):,} bytes are no longer needed")
    checkpoint = None if rehearse else tidy_log(table)
    after = measure(table)
    saved = before.bytes + before.log_bytes - after.bytes - after.log_bytes
    return Upkeep(
        table=name,
        before=before,
        after=after,
        compacted=tuple(commits),
        vacuumed_files=len(stale),
        vacuumed_bytes=sum(stale.values()),
        checkpoint=checkpoint,
        saved_usd_per_month=usd_per_month(saved, usd_per_gb_month),
    )
