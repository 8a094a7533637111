"""Which table partitions of a mart are served: those of the newest days, as many as fit."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, Mart
from dagster_project.lake.keys import Key

_TOKEN_BYTES = 8  # one of 2⁶⁴: two states of one table partition are never taken for one another


@dataclass(frozen=True, kw_only=True)
class Window:
    """The served part of a mart, the same from the cache and from Gold.

    Attributes:
        tokens: by table partition, what names its files, and with them its rows.
        since: the first of its days; `None` where it has none.
        whole: nothing of the mart is left out.
        rows: how many it has.
    """

    tokens: Mapping[Key, str]
    since: dt.date | None
    whole: bool
    rows: int

    @property
    def fits(self) -> bool:
        """Whether there is a part to serve; not so where the newest day alone has too many rows."""
        return self.whole or bool(self.tokens)

    def covers(self, keys: Iterable[Key]) -> bool:
        """Whether all rows of these table partitions are in it."""
        return self.whole or all(
            key.date is not None and self.since is not None and key.date >= self.since for key in keys
        )


def window(mart: Mart, files: pl.DataFrame, *, max_rows: int) -> Window:
    """The newest days of a mart that have at most so many rows together; days are not cut.

    Args:
        files: of a version of the mart, as `Table.files` gives them.
    """
    on = list(mart.partitioned_by)
    if not on:
        rows = int(files["num_records"].sum())
        fits = rows <= max_rows
        tokens = {Key(None, None): _token(files["path"])} if fits and rows else {}
        return Window(tokens=tokens, since=None, whole=fits, rows=rows if fits else 0)
    days = files.group_by(DATE_COLUMN).agg(pl.sum("num_records")).sort(DATE_COLUMN, descending=True)
    fitting = days.filter(pl.col("num_records").cum_sum() <= max_rows)
    chosen = files.join(fitting.select(DATE_COLUMN), on=DATE_COLUMN, how="semi")
    parts = chosen.select(*on, "path").sort(*on).partition_by(on, as_dict=True, maintain_order=True)
    return Window(
        tokens={
            Key(place[0], place[1] if len(place) > 1 else None): _token(own["path"]) for place, own in parts.items()
        },
        since=None if fitting.is_empty() else fitting[DATE_COLUMN][-1],
        whole=len(fitting) == len(days),
        rows=int(fitting["num_records"].sum()),
    )


def _token(paths: pl.Series) -> str:
    """Files are never written twice under one name, so their names tell whether rows may be other ones."""
    return hashlib.blake2b("\n".join(sorted(paths)).encode(), digest_size=_TOKEN_BYTES).hexdigest()
