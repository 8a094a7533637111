"""Tumbling and hopping windows are those of an oracle in plain Python, and say whether they are open, closed or restated."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.windows.marts import DAY, MINUTE, Placed, Row, View, compute, orders_frame, utc, views_frame

# Days on which clocks change in Europe and in America, ends of months, and a leap day.
DAYS = [dt.date(2026, 3, 8), dt.date(2026, 3, 29), dt.date(2026, 3, 31), dt.date(2026, 10, 25), dt.date(2028, 2, 29)]
HOUR, QUARTER = 60 * MINUTE, 15 * MINUTE
NEVER: Mapping[str, dt.datetime] = {}


def moments() -> st.SearchStrategy[dt.datetime]:
    """Around midnight and the full hours of these days, to the microsecond."""
    near = st.tuples(
        st.sampled_from(DAYS),
        st.sampled_from([0, 1, 2, 3, 12, 23, 24]),
        st.sampled_from([-900_000_001, -1, 0, 1, 59_999_999, 60_000_000, 899_999_999]),
    )
    return near.map(
        lambda it: dt.datetime.combine(it[0], dt.time(), dt.UTC) + it[1] * HOUR + dt.timedelta(microseconds=it[2])
    )


REGIONS, SENT = st.sampled_from(["eu", "us"]), st.sampled_from([utc("2028-03-09 09:00"), utc("2028-03-09 09:01")])
ORDERS = st.builds(
    Placed,
    at=moments(),
    amount=st.decimals(0, 10**9, places=2),
    status=st.sampled_from(["created", "paid", "shipped", "cancelled"]),
    region=REGIONS,
    currency=st.sampled_from(["EUR", "JPY"]),
    late=st.booleans(),
    sent=SENT,
)
VIEWS = st.builds(View, at=moments(), visitor=st.sampled_from("abc"), region=REGIONS, late=st.booleans(), sent=SENT)
MARKS = st.dictionaries(REGIONS, moments())


def state(end: dt.datetime, watermark: dt.datetime | None, late: Sequence[dt.datetime]) -> Row:
    """The columns that every window has."""
    name = "open" if watermark is None or watermark < end else "restated" if late else "closed"
    return {"late_rows": len(late), "restated_at": max(late, default=None), "state": name}


def revenue(orders: Iterable[Placed], watermarks: Mapping[str, dt.datetime]) -> list[Row]:
    windows: defaultdict[tuple[dt.datetime, str, str], list[Placed]] = defaultdict(list)
    for one in orders:
        windows[one.at.replace(second=0, microsecond=0), one.region, one.currency].append(one)
    return [
        {
            "event_date": start.date(),
            "region": region,
            "currency": currency,
            "window_start": start,
            "window_end": start + MINUTE,
            "orders": sum(one.status != "cancelled" for one in own),
            "revenue": sum((one.amount for one in own if one.status != "cancelled"), Decimal()),
            **state(start + MINUTE, watermarks.get(region), [one.sent for one in own if one.late]),
        }
        for (start, region, currency), own in windows.items()
    ]


def traffic(views: Iterable[View], watermarks: Mapping[str, dt.datetime]) -> list[Row]:
    windows: defaultdict[tuple[dt.datetime, str], list[View]] = defaultdict(list)
    for view in views:
        start = view.at.replace(minute=view.at.minute // 15 * 15, second=0, microsecond=0)
        while start + HOUR > view.at:
            windows[start, view.region].append(view)
            start -= QUARTER
    return [
        {
            "event_date": start.date(),
            "region": region,
            "window_start": start,
            "window_end": start + HOUR,
            "views": len(own),
            "visitors": len({view.visitor for view in own}),
            **state(start + HOUR, watermarks.get(region), [view.sent for view in own if view.late]),
        }
        for (start, region), own in windows.items()
    ]


def order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["window_start"], row["region"], row.get("currency", "")))


@settings(max_examples=30)
@given(orders=st.lists(ORDERS, max_size=40), marks=MARKS)
def test_revenue_of_each_minute_is_the_oracles(orders: list[Placed], marks: dict[str, dt.datetime]) -> None:
    assert order(compute("revenue_1m", marks, orders=orders_frame(orders))) == order(revenue(orders, marks))


@settings(max_examples=30)
@given(views=st.lists(VIEWS, max_size=40), marks=MARKS, chosen=st.sets(st.sampled_from(DAYS)))
def test_traffic_of_each_hour_is_the_oracles_for_any_choice_of_days(
    views: list[View], marks: dict[str, dt.datetime], chosen: set[dt.date]
) -> None:
    near = chosen | {day + DAY for day in chosen}
    rows = compute("traffic_hourly", marks, page_views=views_frame(view for view in views if view.at.date() in near))
    found = [row for row in rows if row["event_date"] in chosen]
    assert order(found) == order(row for row in traffic(views, marks) if row["event_date"] in chosen)


def test_a_view_is_in_four_windows_and_a_visitor_once_in_each() -> None:
    views = [View(at=utc("2026-06-01 00:10")), View(at=utc("2026-06-01 00:14:59")), View(at=utc("2026-06-01 00:15"))]
    rows = order(compute("traffic_hourly", NEVER, page_views=views_frame(views)))
    assert [(f"{row['window_start']:%d %H:%M}", row["views"], row["visitors"]) for row in rows] == [
        ("31 23:15", 2, 1), ("31 23:30", 3, 1), ("31 23:45", 3, 1), ("01 00:00", 3, 1), ("01 00:15", 1, 1),
    ]  # fmt: skip
    assert [row["event_date"].day for row in rows] == [31, 31, 31, 1, 1]


@pytest.mark.parametrize("day", DAYS, ids=str)
def test_every_day_has_96_windows_that_begin_on_it(day: dt.date) -> None:
    start = dt.datetime.combine(day, dt.time(), dt.UTC)
    views = [View(at=start + number * QUARTER) for number in range(-4, 101)]
    rows = [row for row in compute("traffic_hourly", page_views=views_frame(views)) if row["event_date"] == day]
    assert [row["window_start"] for row in order(rows)] == [start + number * QUARTER for number in range(96)]
    assert {row["views"] for row in rows} == {4}


def test_a_late_order_restates_a_closed_window_and_says_when() -> None:
    orders = [Placed(at=utc("2026-06-01 12:00:10")), Placed(at=utc("2026-06-01 12:01:10"))]
    late = Placed(at=utc("2026-06-01 12:00:59"), amount=Decimal("2.50"), late=True, sent=utc("2026-06-02 08:00"))
    watermark = utc("2026-06-01 12:01")  # the end of the first window, which is closed then
    before = order(compute("revenue_1m", watermark, orders=orders_frame(orders)))
    after = order(compute("revenue_1m", watermark, orders=orders_frame([*orders, late])))
    assert [row["state"] for row in before] == ["closed", "open"]
    assert [row["state"] for row in after] == ["restated", "open"]
    assert (after[0]["orders"], after[0]["revenue"]) == (2, Decimal("3.50"))
    assert (after[0]["late_rows"], after[0]["restated_at"]) == (1, utc("2026-06-02 08:00"))
    assert after[1] == before[1]


def test_a_region_without_a_watermark_has_open_windows_and_does_not_hold_up_another() -> None:
    at = utc("2026-06-01 12:00")
    views = [View(at=at), View(at=at, region="us")]
    rows = compute("traffic_hourly", {"eu": utc("2026-06-02 00:00")}, page_views=views_frame(views))
    assert {(row["region"], row["state"]) for row in rows} == {("eu", "closed"), ("us", "open")}
