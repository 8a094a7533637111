"""Fields that producers send and the contract does not know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import polars as pl

from dagster_project.contract.model import Column, DataType

# Named in the end, and kept meanwhile: names that nobody can foresee, as of identifiers that a producer writes for names.
_NAMED, _KEPT = 100, 10_000
_LONGEST = 128  # characters of a path, which is shown to people


def unknown_fields(rescued: pl.Series, columns: tuple[Column, ...]) -> dict[str, int]:
    """In how many rows there are the most frequent unknown fields, these first.

    Where there are thousands, rows of a field may be missed.

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
        if len(counts) > _KEPT:
            counts = Counter(dict(counts.most_common(_NAMED)))
    return {path[:_LONGEST]: rows for path, rows in counts.most_common(_NAMED)}


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
