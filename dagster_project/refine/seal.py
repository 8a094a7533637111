"""A Silver table that is closed for a moment, so that another major version can catch up with it before it takes over."""

from __future__ import annotations

import time

import polars as pl

from dagster_project.errors import StaleCursorError
from dagster_project.lake.table import Table

# A commit of Silver is only accepted as the very next version. So once this cursor is committed, no run that had looked
# before can commit, and whoever looks after it sees that the table is closed.
SEALED = "sealed"
# A busy stream commits about once a second; each try takes some milliseconds.
_TRIES, _PAUSE_S = 50, 0.02


def is_sealed(silver: Table) -> bool:
    return silver.cursors().get(SEALED, 0) > 0


def refuse_sealed(silver: Table) -> None:
    """Refuse to write to a table that was sealed meanwhile.

    Raises:
        StaleCursorError: it was.
    """
    if is_sealed(silver):
        raise StaleCursorError(
            f"silver/{silver.spec.name} is sealed, as another version is taking over",
            expected="an open table; nothing was written",
            remedy="nothing: it is open again in a moment. If not, run `lakehouse release promote` to its end",
        )


def seal(silver: Table, *, closed: bool) -> None:
    """Close a table, or open it again; does nothing where it is so.

    Raises:
        StaleCursorError: other writers were faster each time.
    """
    for attempt in range(_TRIES):
        if is_sealed(silver) == closed:
            return
        try:
            silver.commit(
                pl.DataFrame(schema=dict(silver.spec.schema)),
                cursors={SEALED: int(closed)},
                metadata={"sealed": closed},
            )
        except StaleCursorError:
            if attempt == _TRIES - 1:
                raise
            time.sleep(_PAUSE_S)
            silver.refresh()
