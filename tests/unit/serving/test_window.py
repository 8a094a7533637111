"""Which part of a mart is served: whole days, the newest first, never more rows than the contract bounds."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog, Mart
from dagster_project.lake.keys import Key
from dagster_project.serving.window import window

FIRST = dt.date(2026, 1, 1)


@pytest.fixture
def mart(catalog: Catalog) -> Mart:
    return catalog.marts[0]


def files(*rows: tuple[int, str, int, str]) -> pl.DataFrame:
    """By day, region, number of rows and name."""
    return pl.DataFrame(
        [(FIRST + dt.timedelta(days=day), region, count, name) for day, region, count, name in rows],
        schema={"event_date": pl.Date, "region": pl.String, "num_records": pl.Int64, "path": pl.String},
        orient="row",
    )


def test_the_newest_days_that_fit(mart: Mart) -> None:
    found = window(mart, files((0, "eu", 5, "a"), (1, "eu", 2, "b"), (1, "us", 3, "c"), (2, "eu", 4, "d")), max_rows=9)
    assert set(found.tokens) == {Key(FIRST + dt.timedelta(days=day), region) for day, region in [(1, "eu"), (1, "us"), (2, "eu")]}  # fmt: skip
    assert (found.since, found.whole, found.rows, found.fits) == (FIRST + dt.timedelta(days=1), False, 9, True)
    assert found.covers([Key(FIRST + dt.timedelta(days=1), "us"), Key(FIRST + dt.timedelta(days=9), "eu")])
    assert not found.covers([Key(FIRST, "eu")])


def test_all_of_a_small_mart(mart: Mart) -> None:
    found = window(mart, files((0, "eu", 5, "a"), (1, "eu", 2, "b")), max_rows=7)
    assert (found.whole, found.rows, found.since) == (True, 7, FIRST)
    assert found.covers([Key(FIRST - dt.timedelta(days=400), "eu")])


def test_a_day_is_not_cut(mart: Mart) -> None:
    found = window(mart, files((0, "eu", 1, "a"), (1, "eu", 5, "b"), (1, "us", 5, "c")), max_rows=9)
    assert (found.tokens, found.since, found.whole, found.fits) == ({}, None, False, False)


def test_an_empty_mart_is_served(mart: Mart) -> None:
    found = window(mart, files(), max_rows=9)
    assert (found.tokens, found.whole, found.rows, found.fits) == ({}, True, 0, True)


def test_a_mart_without_table_partitions_is_served_whole_or_not_at_all(mart: Mart) -> None:
    dimension = replace(mart, partitioned_by=())
    both = files((0, "eu", 5, "a"), (0, "eu", 4, "b")).select("num_records", "path")
    found = window(dimension, both, max_rows=9)
    assert (list(found.tokens), found.whole, found.rows) == ([Key(None, None)], True, 9)
    assert found.covers([Key(None, None)])
    found = window(dimension, both, max_rows=8)
    assert (found.tokens, found.fits) == ({}, False)


def test_a_token_is_of_the_files_of_its_table_partition_alone(mart: Mart) -> None:
    key, other = Key(FIRST, "eu"), Key(FIRST, "us")
    first = window(mart, files((0, "eu", 1, "a"), (0, "eu", 1, "b"), (0, "us", 1, "c")), max_rows=9).tokens
    again = window(mart, files((0, "us", 1, "d"), (0, "eu", 1, "b"), (0, "eu", 1, "a")), max_rows=9).tokens
    assert first[key] == again[key]
    assert first[other] != again[other]
    assert first[key] != window(mart, files((0, "eu", 1, "a")), max_rows=9).tokens[key]


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["eu", "us"]), st.integers(0, 6)), max_size=12),
    most=st.integers(1, 30),
)
def test_it_is_the_longest_run_of_newest_days_that_fits(
    catalog: Catalog, rows: list[tuple[int, str, int]], most: int
) -> None:
    found = window(catalog.marts[0], files(*((*row, str(number)) for number, row in enumerate(rows))), max_rows=most)
    days = sorted({day for day, _, _ in rows}, reverse=True)
    best: list[int] = []
    for count in range(len(days) + 1):
        if sum(size for day, _, size in rows if day in days[:count]) <= most:
            best = days[:count]
    assert found.rows == sum(size for day, _, size in rows if day in best) <= most
    assert {key.date for key in found.tokens} == {FIRST + dt.timedelta(days=day) for day in best}
    assert found.whole == (len(best) == len(days))
