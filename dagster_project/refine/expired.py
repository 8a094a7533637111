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
from dagster_project.ledger.ledger import Ledger
from dagster_project.refine.plan import expired_unseen
from dagster_project.topics.offsets import Offsets

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
    cursor = Cursor.from_table(bronze.cursors())
    if not gone or cursor is None:
        return
    ledger = Ledger.read(
        Table.find(specs.ledger(dataset), storage=storage), cursor.topic(dataset.topic.name), kind="expired"
    )
    named = ledger.rows.join(frame_of(gone), on=specs.KEYS, how="semi")
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


def _offsets(rows: pl.DataFrame, key: Key) -> str:
    offsets = Offsets.of_runs(rows.join(frame_of([key]), on=specs.KEYS, how="semi"))
    return f"{len(offsets):,} rows, offsets {offsets.named(_RUNS)}"
