"""What can no longer be made from Bronze, because the retention has deleted the rows: named, instead of left out."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import ExpiredError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED, Entry, Ledger, write
from dagster_project.refine.cursors import cursor_keys, cursor_name
from dagster_project.refine.plan import expired_unseen, progress
from dagster_project.topics.offsets import Offsets, place

# Table partitions that an error names, and runs of offsets of each: enough to decide by, few enough to read.
_KEYS, _RUNS = 20, 5


def refuse_expired(dataset: Dataset, *, bronze: Table, done: Mapping[Key, int], storage: Storage) -> None:
    """Refuse to go on where rows that are still to be read have expired.

    Args:
        done: by table partition of those that are to be worked on, the last batch that need not be read again.

    Raises:
        ExpiredError: which table partitions, and which of their offsets.
    """
    gone = expired_unseen(bronze, done)
    if not gone:
        return
    named = _expired_rows(dataset, bronze, gone, storage=storage)
    first = [f"{key}: {_offsets(named, key)}" for key in gone[:_KEYS]]
    more = [f"and {len(gone) - _KEYS} more table partitions"] if len(gone) > _KEYS else []
    total = len(Offsets.of_runs(named))
    raise ExpiredError(
        f"silver/{dataset.name} cannot be rebuilt in {len(gone)} table partitions: {total:,} rows of Bronze were deleted "
        f"after the retention of {dataset.slo.retention.days} days"
        + "".join(f"\n    {line}" for line in [*first, *more]),
        expected="every row that Silver is to be made from; nothing was written, so that no smaller table takes its place",
        remedy="choose table partitions without these, or follow docs/runbooks/expired.md; all offsets: lakehouse query "
        f"\"FROM ledger.{dataset.name} WHERE kind = 'expired'\"",
    )


def missing(dataset: Dataset, *, storage: Storage) -> Offsets:
    """What has expired in Bronze, and is neither in Silver, which was made anew, nor in quarantine."""
    bronze, silver, quarantine = (
        Table.find(spec(dataset), storage=storage) for spec in (specs.bronze, specs.silver, specs.quarantine)
    )
    keys = [] if bronze is None else expired_unseen(bronze, progress(silver))
    if bronze is None or not keys:
        return Offsets()
    gone = Offsets.of_runs(_expired_rows(dataset, bronze, keys, storage=storage))
    kept = Offsets() if quarantine is None else Offsets.of_rows(quarantine.rows().select(place()).collect())
    return gone - kept


def give_up(dataset: Dataset, *, reason: str, by: str, storage: Storage) -> Offsets:
    """Declare lost what is missing; refining then goes on without it.

    Returns:
        The offsets, once they are in the ledger and Silver's cursors are past them.

    Raises:
        StaleCursorError: another run has written to Silver in this moment; the next call finishes it.
    """
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return Offsets()
    silver = Table.open(specs.silver(dataset), storage=storage)
    keys = expired_unseen(bronze, progress(silver))
    cursor = Cursor.from_table(bronze.cursors())
    if not keys or cursor is None:
        return Offsets()
    offsets = missing(dataset, storage=storage)
    ledger = Table.open(specs.ledger(dataset), storage=storage)
    topic = cursor.topic(dataset.topic.name)
    fresh = offsets - Ledger.read(ledger, topic, kind="lost").offsets("lost")
    if fresh:
        entry = Entry(offsets=fresh, kind="lost", note=reason, declared_by=by)
        write(ledger, topic, [entry], batch_id=cursor.batch_id, covered={})
    through = cursor_keys(bronze.cursors(), EXPIRED)
    silver.commit(
        pl.DataFrame(schema=dict(silver.spec.schema)),
        cursors={cursor_name("bronze", key): through[key] for key in keys},
        metadata={"given_up": len(offsets)},
    )
    return offsets


def _expired_rows(dataset: Dataset, bronze: Table, keys: list[Key], *, storage: Storage) -> pl.DataFrame:
    """Of the ledger, what has expired in some table partitions."""
    cursor = Cursor.from_table(bronze.cursors())
    assert cursor is not None
    table = Table.find(specs.ledger(dataset), storage=storage)
    ledger = Ledger.read(table, cursor.topic(dataset.topic.name), kind="expired")
    return ledger.rows.join(frame_of(keys), on=specs.KEYS, how="semi")


def _offsets(rows: pl.DataFrame, key: Key) -> str:
    offsets = Offsets.of_runs(rows.join(frame_of([key]), on=specs.KEYS, how="semi"))
    return f"{len(offsets):,} rows, offsets {offsets.named(_RUNS)}"
