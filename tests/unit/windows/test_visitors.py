"""The funnel and the views of each visitor are those of an oracle in plain Python."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.windows.marts import Placed, View, compute, orders_frame, utc, views_frame

PAGES = ["home", "search", "product", "cart", "checkout"]
MOMENTS = st.sampled_from([utc("2026-06-30 23:59:59"), utc("2026-07-01 00:00:00"), utc("2026-07-01 18:00:00")])
REGIONS = st.sampled_from(["eu", "us"])
VIEWS = st.builds(
    View,
    at=MOMENTS,
    visitor=st.sampled_from(["ada", "bob", "bot"]),
    region=REGIONS,
    page=st.sampled_from(PAGES),
    duration_ms=st.none() | st.integers(0, 10**6),
)
STATES = st.sampled_from(["created", "paid", "shipped", "cancelled"])
ORDERS = st.builds(Placed, at=MOMENTS, region=REGIONS, status=STATES)


@settings(max_examples=20)
@given(views=st.lists(VIEWS, max_size=40), orders=st.lists(ORDERS, max_size=20))
def test_the_funnel_counts_visitors_and_orders(views: list[View], orders: list[Placed]) -> None:
    expected: dict[tuple[dt.date, str], list[int]] = {}
    for day, region in {(one.at.date(), one.region) for one in (*views, *orders)}:
        seen = [view for view in views if (view.at.date(), view.region) == (day, region)]
        states = [one.status for one in orders if (one.at.date(), one.region) == (day, region)]
        visitors = [len({view.visitor for view in seen if view.page == page}) for page in PAGES[2:]]
        expected[day, region] = [*visitors, len(states), sum(state in ("paid", "shipped") for state in states)]
    rows = compute("funnel_daily", page_views=views_frame(views), orders=orders_frame(orders))
    steps = ("product_visitors", "cart_visitors", "checkout_visitors", "orders_placed", "orders_paid")
    found = {(row["event_date"], row["region"]): [row[step] for step in steps] for row in rows}
    assert found == expected
    assert len(rows) == len(found)


@settings(max_examples=20)
@given(views=st.lists(VIEWS, max_size=60))
def test_each_visitor_has_one_row_a_day_and_region(views: list[View]) -> None:
    own: defaultdict[tuple[dt.date, str, str], list[View]] = defaultdict(list)
    for view in views:
        own[view.at.date(), view.region, view.visitor].append(view)
    rows = compute("page_views_by_visitor", page_views=views_frame(views))
    assert {
        (row["event_date"], row["region"], row["visitor_id"]): (row["views"], row["pages"], row["duration_ms"])
        for row in rows
    } == {
        key: (len(some), len({view.page for view in some}), sum(view.duration_ms or 0 for view in some))
        for key, some in own.items()
    }
    assert len(rows) == len(own)
