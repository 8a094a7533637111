"""Sets of offsets as runs do what sets of single offsets do."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.topics.offsets import Offsets, place

Place = tuple[int, int]
sets = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 12)))


def of(places: set[Place]) -> Offsets:
    schema = {"_kafka_partition": pl.Int32, "_kafka_offset": pl.Int64}
    rows = pl.DataFrame(list(places), schema=schema, orient="row")
    return Offsets.of_places(rows.select(place())["_place"].sort().to_numpy())


def back(offsets: Offsets) -> set[Place]:
    found = [(p, offset) for p, first, last in offsets.rows().iter_rows() for offset in range(first, last + 1)]
    assert len(found) == len(set(found)) == len(offsets)
    return set(found)


@given(sets, sets)
def test_they_are_sets(one: set[Place], two: set[Place]) -> None:
    assert back(of(one)) == one
    assert back(of(one) & of(two)) == one & two
    assert back(of(one) - of(two)) == one - two
    assert back(of(one) | of(two)) == one | two
    assert bool(of(one)) == bool(one)
    assert of(one).by_partition() == {p: n for p in range(3) if (n := sum(q == p for q, _ in one))}


@given(sets, sets)
def test_membership(one: set[Place], two: set[Place]) -> None:
    places = np.array([p << 48 | offset for p, offset in sorted(two)], np.int64)
    assert of(one).has(places).tolist() == [found in one for found in sorted(two)]


def test_bounds_and_names() -> None:
    found = Offsets.of_bounds({0: 3, 1: 0, 2: 7}, {0: 5, 1: 1, 2: 7})
    assert back(found) == {(0, 3), (0, 4), (1, 0)}
    assert found.named(5) == "0/3-4, 1/0"
    assert found.named(1) == "0/3-4, …"


def test_a_place_that_comes_twice_counts_once() -> None:
    assert len(Offsets.of_places(np.array([1, 1, 2, 2, 2, 9], np.int64))) == 3


def test_runs_may_overlap_and_come_in_any_order() -> None:
    rows = pl.DataFrame(
        [(0, 5, 9), (0, 0, 3), (0, 6, 7), (0, 4, 4), (1, 0, 0)],
        schema={"_kafka_partition": pl.Int32, "first_offset": pl.Int64, "last_offset": pl.Int64},
        orient="row",
    )
    assert Offsets.of_runs(rows).rows().rows() == [(0, 0, 9), (1, 0, 0)]
