"""From when on a dimension with history says something else: what was looked up as of before then stays as it is."""

from __future__ import annotations

import datetime as dt

import polars as pl

from dagster_project.contract.model import Mart

# "Still holds" is null or a date far ahead, mostly of this year.
_OPEN_YEAR = 9999
_BEGINNING = dt.datetime(1, 1, 1, tzinfo=dt.UTC)
_THERE, _BEGIN, _END, _WAS = "_there", "_begin", "_end", "_was"


def first_difference(mart: Mart, old: pl.DataFrame, new: pl.DataFrame) -> dt.date | None:
    """The first day as of which the rows of a dimension differ, which they do; `None`: from the beginning.

    A row that was only closed, or whose end has moved, says something else from the earlier end on. Columns that tell no
    more than whether a row is closed go with its end.
    """
    begin, end = mart.validity
    key = list(mart.merge_key)
    still = pl.col(end).is_null() | (pl.col(end).dt.year() >= _OPEN_YEAR)
    flags = [column.name for column in mart.columns if column.type.kind == "boolean"]
    follows = {
        name for name in flags if all(rows.select(pl.col(name).eq_missing(still).all()).item() for rows in (old, new))
    }
    values = [column.name for column in mart.columns if column.name not in {*key, *mart.validity, *follows}]
    before, after = (
        rows.select(
            *key,
            *values,
            pl.col(begin).fill_null(_BEGINNING).alias(_BEGIN),
            pl.col(end).alias(_END),
            pl.lit(value=True).alias(_THERE),
        )
        for rows in (old, new)
    )
    both = before.join(after, on=key, how="full", coalesce=True, nulls_equal=True, suffix=_WAS)
    differs = (pl.col(name).ne_missing(pl.col(f"{name}{_WAS}")) for name in (_THERE, _BEGIN, *values))
    moments = both.select(
        pl.when(pl.any_horizontal(differs))
        .then(pl.min_horizontal(_BEGIN, f"{_BEGIN}{_WAS}"))
        .when(pl.col(_END).ne_missing(pl.col(f"{_END}{_WAS}")))
        .then(pl.min_horizontal(_END, f"{_END}{_WAS}"))
    )
    first = moments.to_series().min()
    if first is None:  # the same rows, some of them twice
        return None
    assert isinstance(first, dt.datetime)
    return None if first == _BEGINNING else first.date()
