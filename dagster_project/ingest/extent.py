"""How many bytes a payload has at least if it says what its columns hold.

DuckDB forgives what JSON does not (trailing commas, NaN) and drops digits that a double cannot hold. Either takes bytes,
so a payload that is hardly longer than it has to be cannot hide them, and needs no further look. Most producers write
compact JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.compute as pc

from dagster_project.contract.model import Column, DataType

Marks = npt.NDArray[np.bool_]
ArrowArray = Any  # pyarrow has no types
_NULL = 4  # bytes of `null`, where an element of a list is
_EXPONENT = 3  # bytes of 1e9, the briefest that a number with an exponent can be
# A zero may have been 1e-400, which is three characters longer: as much as a number of 13 lacks to 16.
_ZERO = 13


class Extent(NamedTuple):
    """What is known of values.

    Attributes:
        lengths: least bytes of each.
        doubts: those whose shape is in doubt: DuckDB says nothing of what is no array where there should be one, and
            makes an object without any member of whatever is no object.
        digits: characters of the longest number that is to become a decimal.
    """

    lengths: npt.NDArray[np.int64]
    doubts: Marks
    digits: int = 0


def extent(values: ArrowArray, columns: Sequence[Column]) -> Extent:
    """The extent of objects, as `scalars.json_type` has DuckDB give them."""
    count = len(values)
    total, members = np.full(count, 2, np.int64), np.zeros(count, np.int64)
    doubts = np.zeros(count, np.bool_)
    digits = 0
    for column, child in zip(columns, values.flatten(), strict=True):
        present = flags(child.is_valid())
        name = len(json.dumps(column.name, ensure_ascii=False).encode()) + 1  # the colon
        inner = _value(child, column.type)
        total += np.where(present, name + inner.lengths, 0)
        members += present
        doubts |= inner.doubts
        digits = max(digits, inner.digits)
    return Extent(total + np.maximum(members - 1, 0), doubts | (members == 0), digits)


def _value(values: ArrowArray, data_type: DataType) -> Extent:
    match data_type.kind:
        case "struct":
            inner = extent(values, data_type.fields)
            return inner._replace(doubts=inner.doubts & flags(values.is_valid()))
        case "list":
            assert data_type.element is not None
            counts = list_lengths(values)
            elements = values.flatten()
            inner = _value(elements, data_type.element)
            lengths = np.where(flags(elements.is_valid()), inner.lengths, _NULL)
            doubts = (run_sums(inner.doubts, counts) > 0) | flags(values.is_null())
            return Extent(2 + run_sums(lengths, counts) + np.maximum(counts - 1, 0), doubts, inner.digits)
        case kind:
            lengths = pc.call_function("binary_length", [values]).fill_null(0).to_numpy().astype(np.int64)
            sound = Extent(lengths, np.zeros(len(values), np.bool_))
            if kind in ("timestamp", "date"):
                return sound._replace(lengths=lengths + 2)  # the quotes
            if kind not in ("number", "decimal"):
                return sound
            text = pl.Series(values)
            lengths = np.where(_grown(text), np.minimum(lengths, _EXPONENT), lengths)
            digits = int(lengths.max(initial=0)) if kind == "decimal" else 0
            if kind == "decimal" and text.is_in(["0.0", "-0.0"]).any():
                digits = max(digits, _ZERO)
            return Extent(lengths, sound.doubts, digits)


def _grown(text: pl.Series) -> Marks:
    """Numbers that DuckDB may have written longer than they were sent: 1E2 as 100.0, 1e-5 as 0.00001."""
    doubtful = (
        text.str.ends_with(".0")
        | text.str.contains("e", literal=True)
        | text.str.contains("E", literal=True)
        | text.str.starts_with("0.0")
        | text.str.starts_with("-0.0")
    )
    return doubtful.fill_null(False).to_numpy()


def run_sums(values: npt.NDArray[np.generic], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Sums of consecutive runs of these lengths."""
    ends = np.cumsum(counts)
    running = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
    return running[ends] - running[ends - counts]


def list_lengths(values: ArrowArray) -> npt.NDArray[np.int64]:
    """Elements of each list; a null has none."""
    return pc.call_function("list_value_length", [values]).fill_null(0).to_numpy().astype(np.int64)


def flags(values: ArrowArray) -> Marks:
    return values.to_numpy(zero_copy_only=False)
