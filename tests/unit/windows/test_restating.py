"""Through the planner: late views and a watermark that moves on recompute what they can change, and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from dagster_project.lake import specs
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.gold import compute
from tests.unit.windows.marts import DAY, MINUTE, Row, View, catalog, utc, views_frame

MARTS = ("traffic_hourly", "sessions", "page_views_by_visitor")
FIRST = dt.date(2026, 6, 1)


@dataclass(kw_only=True)
class Shop:
    """Silver of page views, and the marts over it. Views are added in the order in which they become known."""

    storage: Storage
    views: list[View] = field(default_factory=list)

    def add(self, *views: View, watermarks: Mapping[str, dt.datetime] | None = None) -> None:
        """Commit views, and the newest event times of Kafka partition 0 that the given watermarks follow from."""
        dataset = catalog().dataset("page_views")
        silver = Table.open(specs.silver(dataset), storage=self.storage)
        frame = views_frame([*self.views, *views])[len(self.views) :]
        blank = [pl.lit(None, dtype).alias(name) for name, dtype in silver.schema.items() if name not in frame.columns]
        newest = {
            f"watermark/0/{region}": (moment + dataset.allowed_lateness - dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
            // dt.timedelta(microseconds=1)
            for region, moment in (watermarks or {}).items()
        }
        rows = frame.with_columns(blank).with_columns(pl.lit(value=False).alias("_deleted"))
        silver.commit(rows, cursors=newest, marks=[cursor_name("changed", key) for key in keys_of(frame)])
        self.views += views

    def compute(self, name: str, *, afresh: bool = False) -> set[Key]:
        """Bring a mart up to date; returns the table partitions that were computed."""
        mart = next(mart for mart in catalog().marts if mart.name == name)
        done = list(compute(mart, catalog=catalog(), storage=self.storage, keys=None, afresh=afresh))
        return {key for part in done for key in part.rows}

    def rows(self, name: str) -> list[Row]:
        mart = next(mart for mart in catalog().marts if mart.name == name)
        table = Table.open(specs.gold(mart), storage=self.storage)
        return table.rows().sort(mart.merge_key).collect().to_dicts()

    def states(self, name: str, start: str) -> set[str]:
        """Of all regions' windows that begin at a moment."""
        return {row["state"] for row in self.rows(name) if row[start_of(name)] == utc(start)}


def start_of(name: str) -> str:
    return "session_start" if name == "sessions" else "window_start"


def days(keys: Iterable[Key]) -> set[int]:
    return {key.date.day for key in keys if key.date is not None}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(storage=Storage.at(str(tmp_path / "lake")))
    # Ten days, each with a visit at midnight and one at noon, all but the last day's complete.
    moments = [dt.datetime.combine(FIRST + n * DAY, dt.time(), dt.UTC) for n in range(10)]
    views = [
        View(at=moment + at * MINUTE, region=region) for moment in moments for at in (5, 720) for region in ("eu", "us")
    ]
    shop.add(*views, watermarks={"eu": utc("2026-06-10 12:40"), "us": utc("2026-06-10 12:40")})
    for name in MARTS:
        shop.compute(name)
    return shop


def test_a_view_after_midnight_is_in_windows_of_the_day_before(shop: Shop) -> None:
    rows = [row for row in shop.rows("traffic_hourly") if row["event_date"] == dt.date(2026, 5, 31)]
    starts = {f"{row['window_start']:%d %H:%M}" for row in rows}
    assert starts == {"31 23:15", "31 23:30", "31 23:45"}
    assert {row["state"] for row in rows} == {"closed"}


def test_a_late_view_restates_its_windows_and_recomputes_these_days_alone(shop: Shop) -> None:
    assert (
        shop.states("traffic_hourly", "2026-06-05 12:00") == shop.states("sessions", "2026-06-05 12:00") == {"closed"}
    )
    late = View(at=utc("2026-06-05 12:10"), region="us", late=True, sent=utc("2026-06-10 13:00"))
    shop.add(late)
    computed = {name: shop.compute(name) for name in MARTS}
    assert {name: days(keys) for name, keys in computed.items()} == {
        "traffic_hourly": {4, 5},
        "sessions": {4, 5, 6},
        "page_views_by_visitor": {5},
    }
    assert {key.region for keys in computed.values() for key in keys} == {"us"}
    for name in ("traffic_hourly", "sessions"):
        (restated,) = [row for row in shop.rows(name) if row["state"] == "restated" and row[start_of(name)] == utc("2026-06-05 12:00")]  # fmt: skip
        assert (restated["region"], restated["late_rows"], restated["restated_at"]) == ("us", 1, late.sent)
        assert restated["views"] == 2
    assert shop.states("sessions", "2026-06-04 12:00") == {"closed"}


def test_windows_close_as_the_watermark_of_their_region_goes_on(shop: Shop) -> None:
    name = "traffic_hourly"
    assert shop.states(name, "2026-06-10 11:30") == {"closed"}
    assert shop.states(name, "2026-06-10 11:45") == {"open"}
    shop.add(watermarks={"eu": utc("2026-06-10 12:44:59")})
    assert shop.compute(name) == set()  # no step of a quarter
    shop.add(watermarks={"eu": utc("2026-06-10 12:45")})
    assert {key.region for key in shop.compute(name)} == {"eu"}
    assert shop.states(name, "2026-06-10 11:45") == {"open", "closed"}  # the other region's stay as they were
    shop.compute("sessions")
    assert shop.states("sessions", "2026-06-10 12:00") == {"open", "closed"}


def test_step_by_step_the_marts_are_what_they_are_computed_afresh(shop: Shop) -> None:
    bot = [View(at=utc("2026-06-02 22:00") + n * 20 * MINUTE, visitor="bot") for n in range(150)]
    steps = [
        (bot[::2], {}),
        (bot[1::2], {"eu": utc("2026-06-10 13:00")}),
        ([View(at=utc("2026-06-04 23:58"), late=True), View(at=utc("2026-06-05 00:20"), late=True)], {}),
        ([], {"eu": utc("2026-06-11 00:00"), "us": utc("2026-06-11 00:00")}),
    ]
    for views, marks in steps:
        shop.add(*views, watermarks=marks)
        for name in MARTS:
            shop.compute(name)
    for name in MARTS:
        before = shop.rows(name)
        assert shop.compute(name) == set()
        assert shop.compute(name, afresh=True)
        assert shop.rows(name) == before
