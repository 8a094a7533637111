"""What the platform has written about itself is kept for a while, and then deleted by whole dates."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import DATE_COLUMN
from dagster_project.errors import StaleCursorError
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

# The longest window of an error budget is 35 days; a few more, for whoever looks at the last of them in the week after.
KEPT_DAYS = 40
# How long files stay that a table has no more: each look at the service levels makes one, thousands a day, and nobody reads an
# older version of these tables for longer than a query takes.
KEPT_HOURS = 24
# Compaction may take files out at the same moment, and is done within seconds.
_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Aged:
    """What was deleted from a table, or would be."""

    table: str
    dates: int
    files: int
    rows: int
    bytes: int


def age(spec: TableSpec, *, storage: Storage, now: dt.datetime, rehearse: bool = False) -> Aged | None:
    """Delete what is older than `KEPT_DAYS`; `None` where there is no such table or nothing so old.

    Args:
        rehearse: only tell what would be deleted.

    Raises:
        StaleCursorError: others keep taking files out of the table; nothing was deleted.
        LakeError: the store cannot be read or written.
    """
    table = Table.find(spec, storage=storage)
    if table is None:
        return None
    first_kept = (now.astimezone(dt.UTC) - dt.timedelta(days=KEPT_DAYS)).date()
    tries = 1 if rehearse else _TRIES
    while True:
        old = table.files().filter(pl.col(DATE_COLUMN) < first_kept)
        if old.is_empty():
            return None
        try:
            if not rehearse:
                table.commit(pl.DataFrame(schema=dict(spec.schema)), cursors={}, remove=old)
        except StaleCursorError:
            if (tries := tries - 1) == 0:
                raise
            table.refresh()
            continue
        return Aged(
            table=f"{spec.layer}/{spec.name}",
            dates=old[DATE_COLUMN].n_unique(),
            files=len(old),
            rows=int(old["num_records"].sum()),
            bytes=int(old["size_bytes"].sum()),
        )
