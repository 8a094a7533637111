"""Rows come back from the cache as they went in, in whichever parts they were written."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from itertools import pairwise

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.serving.format import batches_of, rows_of, schema_of

SCHEMA = {
    "event_date": pl.Date(),
    "window_start": pl.Datetime("us", "UTC"),
    "region": pl.String(),
    "revenue": pl.Decimal(18, 2),
    "orders": pl.Int64(),
    "mean": pl.Float64(),
    "late": pl.Boolean(),
    "tags": pl.List(pl.String()),
}
ROW = (
    dt.date(2026, 1, 1),
    dt.datetime(2026, 1, 1, 12, 0, 0, 1, tzinfo=dt.UTC),
    "Zoë",
    Decimal("123456789012.34"),
    2**62,
    0.1,
    None,
    ["a", ""],
)


def frame(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def test_every_type_of_a_contract_comes_back_as_it_was() -> None:
    rows = frame(ROW, (None,) * len(SCHEMA))
    assert rows_of(schema_of(rows), [batches_of(rows)]).equals(rows, null_equal=True)
    assert rows_of(schema_of(rows), [batches_of(rows)]).schema == rows.schema


def test_no_rows_have_their_columns() -> None:
    assert rows_of(schema_of(frame()), []).equals(frame())
    assert rows_of(schema_of(frame()), [batches_of(frame())]).equals(frame())


@given(cuts=st.lists(st.integers(0, 20), max_size=5))
def test_parts_are_the_whole(cuts: list[int]) -> None:
    rows = pl.concat([frame(ROW).with_columns(orders=pl.lit(number, pl.Int64)) for number in range(20)])
    ends = [0, *sorted(cuts), 20]
    parts = [rows[start:end] for start, end in pairwise(ends)]
    assert rows_of(schema_of(rows), map(batches_of, parts)).equals(rows)


def test_another_reader_of_arrow_reads_it() -> None:
    rows = frame(ROW, ROW)
    end = b"\xff\xff\xff\xff\x00\x00\x00\x00"
    table = pa.ipc.open_stream(io.BytesIO(schema_of(rows) + batches_of(rows) + end)).read_all()
    assert table.num_rows == 2
    assert table.column("revenue").to_pylist() == [Decimal("123456789012.34")] * 2


@pytest.mark.parametrize("column", ["orders", "mean"])
def test_other_columns_have_another_schema(column: str) -> None:
    assert schema_of(frame()) != schema_of(frame().drop(column))
    assert schema_of(frame(ROW)) == schema_of(frame(ROW, ROW))
