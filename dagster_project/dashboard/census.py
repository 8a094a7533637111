"""What files of a table hold, counted once for each: a file never changes, so only new ones are read."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import polars as pl

from dagster_project.lake.table import Table


class Census:
    """Counts by file.

    Args:
        count: makes counts of rows, which have the column `_path` of their file; keeps that column.
    """

    def __init__(self, count: Callable[[pl.LazyFrame], pl.LazyFrame]) -> None:
        self._count = count
        self._known: dict[str, pl.DataFrame] = {}

    def of(self, table: Table, files: pl.DataFrame) -> pl.DataFrame:
        """Counts of some files, as `Table.files` names them; those of all others are forgotten."""
        paths = [unquote(path) for path in files["path"]]
        new = files.filter(pl.Series([path not in self._known for path in paths], dtype=pl.Boolean))
        counted = self._count(table.rows(new, with_path=True)).collect(engine="in-memory")
        fresh = {str(path): rows for (path,), rows in counted.partition_by("_path", as_dict=True).items()}
        # Of a file without rows there are no counts.
        self._known = {path: self._known.get(path, fresh.get(path, counted.clear())) for path in paths}
        return pl.concat([counted.clear(), *self._known.values()])
