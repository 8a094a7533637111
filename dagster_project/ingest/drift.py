"""Fields that producers send and the contract does not know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import polars as pl

from dagster_project.contract.model import Column, DataType


def unknown_fields(rescued: pl.Series, columns: tuple[Column, ...]) -> dict[str, int]:
    """In how many rows there is each unknown field, the most frequent first.

    Args:
        rescued: values of `_rescued`, without nulls.

    Returns:
        By path, as in reasons of poison: `coupon`, `place.zip`, `lines[].colour`.
    """
    row = DataType(kind="struct", fields=columns)
    counts: Counter[str] = Counter()
    # Numbers are not looked at: some are longer than Python likes to read.
    for text, rows in rescued.value_counts().iter_rows():
        for path in set(_unknown(json.loads(text, parse_int=str), row, "")):
            counts[path] += rows
    return dict(counts.most_common())


def _unknown(value: Any, data_type: DataType, path: str) -> Iterator[str]:
    if isinstance(value, list) and data_type.element is not None:
        for item in value:
            yield from _unknown(item, data_type.element, f"{path}[]")
    elif isinstance(value, dict):
        types = {field.name: field.type for field in data_type.fields}
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            if name in types:
                yield from _unknown(inner, types[name], below)
            else:
                yield below
