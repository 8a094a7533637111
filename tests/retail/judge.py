"""Silver and marts against their oracles, and the marts of two deliveries against each other."""

# pyright: reportCallIssue=false, reportGeneralTypeIssues=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import polars as pl

from dagster_project.contract.model import Catalog
from tests.retail.frames import KEYS
from tests.retail.marts import MARTS, OF_DELIVERY, Silver
from tests.retail.shop import Shop

Row = dict[str, Any]
# By what the oracle calls it: the message that a row of Silver is from.
_PLACE = {"kafka_partition": "_kafka_partition", "kafka_offset": "_kafka_offset"}


def silver_problems(shop: Shop, sent: Silver) -> Iterator[str]:
    """Where rows of Silver, or the messages that they are from, are not what was sent.

    Of pseudonyms there is no oracle, and of a delete only a mark is left.
    """
    for name, found in shop.silver().items():
        wanted = sent[name].rename(columns=_PLACE)
        clear = {column.name for column in shop.catalog.dataset(name).columns if not column.protection}
        columns = [column for column in wanted.columns if column in clear or column in _PLACE.values()]
        wanted = wanted.loc[~wanted["deleted"], columns]
        yield from _differences(f"silver/{name}", found.filter(~pl.col("_deleted")), wanted, key=KEYS[name][0])


def problems(shop: Shop, sent: Silver | None = None) -> Iterator[str]:
    """Where the marts are not what pandas makes of what was sent.

    Args:
        sent: `shop.sent()`, where that is known already.
    """
    sent, found = shop.sent() if sent is None else sent, shop.marts()
    for name in sorted(MARTS.keys() & found.keys()):
        wanted = MARTS[name](sent)
        own = found[name]
        if own.is_empty():
            yield f"{name}: nothing is in it"
        key = [column for column in shop.catalog.mart(name).merge_key if column in wanted]
        # Not every key is in the oracle: what is derived from the rest is not, and the rest then says which row is which.
        by = [*key, *(column for column in wanted.columns if column not in key)]
        yield from _differences(name, own, wanted, key=by)


def _differences(name: str, found: pl.DataFrame, wanted: pd.DataFrame, *, key: list[str]) -> Iterator[str]:
    there = _sorted([plain(row) for row in found.select(wanted.columns.to_list()).to_dicts()], key)
    expected = _sorted([plain(row) for row in wanted.astype(object).to_dict("records")], key)
    if there != expected:
        yield f"{name}: {_first_difference(there, expected)}"


def different(one: Mapping[str, pl.DataFrame], other: Mapping[str, pl.DataFrame], *, facts: bool) -> list[str]:
    """The marts that are not the same, bit for bit.

    Args:
        facts: look only at what happened, and not at how it was delivered.
    """
    return [
        name
        for name, rows in one.items()
        if not (_facts(rows).equals(_facts(other[name])) if facts else rows.equals(other[name]))
    ]


def judged(catalog: Catalog) -> set[str]:
    """Marts that have an oracle; what is fixed needs none."""
    return {mart.name for mart in catalog.marts if mart.inputs}


def plain(row: Mapping[str, object]) -> Row:
    """With one spelling of nothing and of time."""
    values = {name: value.to_pydatetime() if isinstance(value, pd.Timestamp) else value for name, value in row.items()}
    return {name: None if not isinstance(value, list) and pd.isna(value) else value for name, value in values.items()}


def _facts(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop(OF_DELIVERY, strict=False)


def _sorted(rows: list[Row], by: list[str]) -> list[Row]:
    return sorted(rows, key=lambda row: [str(row[name]) for name in by])


def _first_difference(found: list[Row], wanted: list[Row]) -> str:
    for one, other in zip(found, wanted, strict=False):
        if one != other:
            return f"{ {name: (one[name], other[name]) for name in one if one[name] != other[name]} } in {other}"
    return f"{len(found)} rows, and not {len(wanted)}"
