"""Rectangles cover exactly the table partitions that were asked for."""

from __future__ import annotations

import datetime as dt

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.lake.keys import Key, frame_of, keys_of, rectangles

REGIONS = ("eu", "us", "apac", "a.b-c_1")
keys_strategy = st.sets(
    st.builds(Key, st.dates(dt.date(2026, 1, 1), dt.date(2026, 1, 12)), st.sampled_from(REGIONS)), max_size=40
)


@given(keys_strategy, st.integers(len(REGIONS), 15))
def test_rectangles_cover_each_key_once_and_no_other(keys: set[Key], most: int) -> None:
    covering = rectangles(keys, regions=REGIONS, most=most)
    covered = [key for rectangle in covering for key in rectangle.keys()]  # noqa: SIM118 a rectangle is no mapping
    assert sorted(covered) == sorted(keys)
    for rectangle in covering:
        assert len(list(rectangle.keys())) <= most
        first = REGIONS.index(rectangle.regions[0])
        assert rectangle.regions == REGIONS[first : first + len(rectangle.regions)]
    assert [rectangle.first for rectangle in covering] == sorted(rectangle.first for rectangle in covering)


def test_a_whole_block_is_one_rectangle() -> None:
    days = [dt.date(2026, 1, day) for day in range(1, 11)]
    (block,) = rectangles([Key(day, region) for day in days for region in REGIONS], regions=REGIONS, most=60)
    assert (block.first, block.last, block.regions) == (days[0], days[-1], REGIONS)
    # Rows without a place are in no rectangle.
    assert rectangles([Key(None, None)], regions=REGIONS, most=60) == []


def test_keys_and_frames() -> None:
    keys = [Key(None, None), Key(dt.date(2026, 1, 1), "eu")]
    assert sorted(keys_of(frame_of(keys)), key=str) == sorted(keys, key=str)
    assert keys_of(pl.DataFrame({"event_date": [dt.date(2026, 1, 1)] * 2})) == [Key(dt.date(2026, 1, 1), None)]
    assert [str(key) for key in keys] == ["none", "2026-01-01/eu"]
