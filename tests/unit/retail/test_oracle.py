"""The oracle of the retail marts, on cases that are small enough to be judged by reading them."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd

from dagster_project.sources.oracle import Record
from tests.retail.dimensions import as_of, dim_customer
from tests.retail.frames import frame_of, silver
from tests.retail.ledger import postings
from tests.retail.watermarks import session_end, watermarks, with_state
from tests.retail.windows import funnel_daily, page_views_by_visitor, revenue_1m, sessions, traffic_hourly

MONDAY, TUESDAY = dt.date(2026, 3, 2), dt.date(2026, 3, 3)


def record(offset: int, time: str, *, fate: str = "valid", partition: int = 0, **value: Any) -> Record:
    return Record(
        index=offset,
        partition=partition,
        offset=offset,
        kind=fate,
        late=False,
        trouble="",
        key=value.pop("key", "k"),
        event_time=time,
        value={"event_time": time, "region": "eu", **value} if value else None,
    )


def view(offset: int, time: str, page: str = "home", *, visitor: str = "v", **more: Any) -> Record:
    return record(offset, time, view_id=f"{offset}", visitor_id=visitor, page=page, duration_ms=10, **more)


def order(offset: int, time: str, status: str, *, order_id: str = "o", amount: str = "1.10", at: str = "") -> Record:
    return record(
        offset, time, order_id=order_id, ordered_at=at or time, status=status, currency="EUR", amount=Decimal(amount)
    )


def views(*records: Record) -> pd.DataFrame:
    return silver(frame_of(list(records)), "page_views")


def rows(frame: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    return list(frame[list(columns)].itertuples(index=False, name=None))


def at(text: str) -> pd.Timestamp:
    return pd.Timestamp(text).as_unit("us")


def test_late_is_behind_the_newest_of_the_kafka_partition_and_region() -> None:
    frame = frame_of(
        [
            view(0, "2026-03-02T10:00:00Z"),
            view(1, "2026-03-02T09:50:00Z"),  # ten minutes are allowed
            view(2, "2026-03-02T09:49:59.999999Z"),
            view(3, "2026-03-02T08:00:00Z", region="us"),
            view(4, "2026-03-02T08:00:00Z", partition=1),
            view(5, "2026-03-02T12:00:00+02:00", fate="gate"),
        ]
    )
    assert [None if pd.isna(late) else late for late in frame["late_us"]] == [None, None, 600_000_001, None, None, None]


def test_the_newest_version_of_an_order_counts_and_of_two_deliveries_the_second() -> None:
    frame = frame_of(
        [
            order(0, "2026-03-02T10:00:00Z", "created"),
            order(1, "2026-03-02T12:00:00Z", "shipped", at="2026-03-02T10:00:00Z"),
            order(2, "2026-03-02T11:00:00Z", "paid", at="2026-03-02T10:00:00Z"),
            order(3, "2026-03-02T12:00:00Z", "shipped", at="2026-03-02T10:00:00Z"),
            order(4, "2026-03-02T13:00:00Z", "refunded"),
        ][:4]
    )
    assert rows(silver(frame, "orders"), "order_id", "status", "kafka_offset", "event_date") == [
        ("o", "shipped", 3, MONDAY)
    ]


def test_the_first_delivery_of_a_view_counts() -> None:
    twice = view(0, "2026-03-02T10:00:00Z")
    again = Record(**{name: getattr(twice, name) for name in Record.__slots__} | {"offset": 7, "kind": "duplicate"})
    assert rows(views(twice, again), "view_id", "kafka_offset") == [("0", 0)]


def customer(offset: int, time: str, segment: str = "", *, country: str = "DE", email: str = "a@b") -> Record:
    if not segment:
        return record(offset, time, fate="delete", key="c")
    return record(offset, time, key="c", customer_id="c", segment=segment, country=country, email=email)


def test_a_customers_versions_are_closed_by_changes_and_deletes_whatever_order_they_come_in() -> None:
    changes = [
        customer(0, "2026-03-05T00:00:00Z", "vip"),  # came back after the delete
        customer(1, "2026-03-01T00:00:00Z", "consumer"),
        customer(2, "2026-03-03T00:00:00Z"),
        customer(3, "2026-03-02T00:00:00Z", "business"),
        customer(4, "2026-03-02T12:00:00Z", "business", email="c@d"),  # nothing that the dimension has
    ]
    versions = dim_customer(silver(frame_of(changes), "customers"))
    assert rows(versions, "segment", "valid_from", "is_current") == [
        ("consumer", at("2026-03-01T00:00:00Z"), False),
        ("business", at("2026-03-02T00:00:00Z"), False),
        ("vip", at("2026-03-05T00:00:00Z"), True),
    ]
    assert list(versions["valid_to"][:2]) == [at("2026-03-02T00:00:00Z"), at("2026-03-03T00:00:00Z")]
    assert pd.isna(versions["valid_to"][2])
    moments = ["2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z", "2026-03-03T00:00:00Z", "2027-01-01T00:00:00Z"]
    asked = pd.DataFrame({"customer_id": "c", "ordered_at": pd.to_datetime(moments, utc=True).as_unit("us")})
    segments = as_of(asked, versions, "ordered_at")["segment"]
    assert [None if pd.isna(segment) else segment for segment in segments] == [None, "business", None, "vip"]


def test_a_payment_is_posted_twice_a_line_for_each_event() -> None:
    def event(sequence: int, kind: str, amount: str) -> Record:
        time = f"2026-03-02T1{sequence}:00:00Z"
        return record(
            sequence, time, payment_id="p", sequence=sequence, order_id="o", currency="EUR", kind=kind,
            amount=Decimal(amount), payment_at="2026-03-02T11:00:00Z",
        )  # fmt: skip

    events = [event(3, "chargeback", "7.00"), event(1, "capture", "9.00"), event(2, "refund", "2.00")]
    posted = postings(silver(frame_of(events), "payments"))
    assert rows(posted.fillna({"reverses": ""}), "posting_id", "account", "debit", "credit", "reverses") == [
        ("p|1|1", "cash:EUR", Decimal("9.00"), 0, ""),
        ("p|1|2", "revenue:eu", 0, Decimal("9.00"), ""),
        ("p|2|1", "revenue:eu", Decimal("2.00"), 0, "p|1"),
        ("p|2|2", "cash:EUR", 0, Decimal("2.00"), "p|1"),
        ("p|3|1", "chargebacks:eu", Decimal("7.00"), 0, "p|1"),
        ("p|3|2", "cash:EUR", 0, Decimal("7.00"), "p|1"),
    ]


def test_revenue_by_the_minute_leaves_out_what_was_cancelled() -> None:
    orders = silver(
        frame_of(
            [
                order(0, "2026-03-02T10:00:00Z", "paid", order_id="a"),
                order(1, "2026-03-02T10:00:59.999999Z", "created", order_id="b", amount="2.20"),
                order(2, "2026-03-02T10:00:30Z", "cancelled", order_id="c"),
                order(3, "2026-03-02T09:01:00Z", "paid", order_id="d"),
            ]
        ),
        "orders",
    )
    assert rows(revenue_1m(orders), "window_start", "window_end", "orders", "revenue", "late_rows") == [
        (at("2026-03-02T09:01Z"), at("2026-03-02T09:02Z"), 1, Decimal("1.10"), 1),
        (at("2026-03-02T10:00Z"), at("2026-03-02T10:01Z"), 2, Decimal("3.30"), 0),
    ]


def test_a_view_is_in_four_hours_and_a_visitor_counts_once_in_each() -> None:
    seen = [view(0, "2026-03-02T10:14:59Z"), view(1, "2026-03-02T10:20:00Z"), view(2, "2026-03-03T00:05:00Z")]
    hours = traffic_hourly(views(*seen))
    assert rows(hours[hours["window_start"] < at("2026-03-02T20:00Z")], "window_start", "views", "visitors") == [
        (at("2026-03-02T09:15Z"), 1, 1),
        (at("2026-03-02T09:30Z"), 2, 1),
        (at("2026-03-02T09:45Z"), 2, 1),
        (at("2026-03-02T10:00Z"), 2, 1),
        (at("2026-03-02T10:15Z"), 1, 1),
    ]
    # A window is on the day on which it begins.
    assert rows(hours[hours["window_start"] > at("2026-03-02T20:00Z")], "window_start", "event_date") == [
        (at("2026-03-02T23:15Z"), MONDAY),
        (at("2026-03-02T23:30Z"), MONDAY),
        (at("2026-03-02T23:45Z"), MONDAY),
        (at("2026-03-03T00:00Z"), TUESDAY),
    ]


def test_a_session_ends_with_a_pause_of_half_an_hour_and_not_at_midnight() -> None:
    found = sessions(
        views(
            view(0, "2026-03-02T23:50:00Z"),
            view(1, "2026-03-03T00:19:59.999Z", "cart", partition=3),
            view(2, "2026-03-03T00:49:59.999Z", "product"),
            view(3, "2026-03-03T00:00:00Z", visitor="w"),
        )
    )
    assert rows(found, "visitor_id", "event_date", "views", "entry_page", "exit_page", "duration_ms") == [
        ("v", MONDAY, 2, "home", "cart", 1_799_999),
        ("v", TUESDAY, 1, "product", "product", 0),
        ("w", TUESDAY, 1, "home", "home", 0),
    ]


def test_who_never_pauses_begins_anew_after_a_whole_day() -> None:
    start = pd.Timestamp("2026-03-02T23:40:00Z")
    endless = [view(n, (start + n * pd.Timedelta(minutes=20)).isoformat()) for n in range(1 + 72 + 72 + 5)]
    found = sessions(views(*endless))
    # From Monday evening to the end of Tuesday, which is whole; Wednesday, which is, too; and what is left.
    assert rows(found, "session_start", "views") == [
        (at("2026-03-02T23:40Z"), 73),
        (at("2026-03-04T00:00Z"), 72),
        (at("2026-03-05T00:00Z"), 5),
    ]


def test_the_funnel_counts_visitors_by_step_and_orders() -> None:
    seen = views(
        view(0, "2026-03-02T10:00:00Z", "product"),
        view(1, "2026-03-02T11:00:00Z", "product"),
        view(2, "2026-03-02T11:00:00Z", "product", visitor="w"),
        view(3, "2026-03-02T11:00:00Z", "cart", visitor="w"),
        view(4, "2026-03-03T11:00:00Z"),
    )
    orders = silver(
        frame_of(
            [
                order(0, "2026-03-02T10:00:00Z", "paid", order_id="a"),
                order(1, "2026-03-02T10:00:00Z", "cancelled", order_id="b"),
                order(2, "2026-03-02T10:00:00Z", "shipped", order_id="c"),
            ]
        ),
        "orders",
    )
    steps = [f"{page}_visitors" for page in ("product", "cart", "checkout")]
    assert rows(funnel_daily(seen, orders), "event_date", *steps, "orders_placed", "orders_paid") == [
        (MONDAY, 2, 1, 0, 3, 2),
        (TUESDAY, 0, 0, 0, 0, 0),
    ]


def test_views_by_visitor_are_added_up() -> None:
    seen = views(view(0, "2026-03-02T10:00:00Z"), view(1, "2026-03-02T11:00:00Z", "cart"))
    assert rows(page_views_by_visitor(seen), "visitor_id", "views", "pages", "duration_ms") == [("v", 2, 2, 20)]


def test_a_watermark_waits_for_no_idle_partition_and_a_region_without_news_is_silent() -> None:
    sent = frame_of(
        [
            view(0, "2026-03-02T10:00:00Z", partition=0),
            view(1, "2026-03-02T10:09:00Z", partition=1),
            view(2, "2026-03-02T09:00:00Z", partition=2),  # an hour behind: nobody waits
            view(3, "2026-03-02T09:49:59Z", region="us"),
            view(4, "2026-03-02T23:00:00Z", fate="decode"),
        ]
    )
    marks = watermarks(sent)
    assert rows(marks.reset_index(), "region", "at", "silent") == [
        ("eu", at("2026-03-02T09:50:00Z"), False),
        ("us", at("2026-03-02T09:39:59Z"), True),
    ]
    windows = pd.DataFrame(
        {
            "region": ["eu", "eu", "us"],
            "window_end": [at("2026-03-02T09:50Z"), at("2026-03-02T09:51Z"), at("2026-03-02T09:40Z")],
            "late_rows": [0, 1, 1],
        }
    )
    assert list(with_state(windows, marks)["state"]) == ["closed", "open", "open"]
    assert list(with_state(windows.assign(late_rows=2, window_end=at("2026-03-02T09:39Z")), marks)["state"]) == [
        "restated",
        "restated",
        "restated",
    ]


def test_nothing_joins_a_session_after_its_pause_or_after_the_cut() -> None:
    seen = sessions(views(view(0, "2026-03-02T10:01:00Z"), view(1, "2026-03-02T23:59:00Z", visitor="w")))
    assert list(session_end(seen)) == [at("2026-03-02T10:45:00Z"), at("2026-03-03T00:30:00Z")]
