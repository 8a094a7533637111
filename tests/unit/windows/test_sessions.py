"""Sessions end with a pause of 30 minutes, and what never pauses is cut at midnight, so that days can be computed alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.windows.marts import DAY, MINUTE, Row, View, compute, utc, views_frame

FIRST = dt.date(2026, 2, 27)  # the days go over the end of a month
DAYS = [FIRST + number * DAY for number in range(6)]
GAP = 30 * MINUTE
TICK = dt.timedelta(microseconds=1)


def expected(views: Iterable[View]) -> list[Row]:
    """Sessions of the whole stream, one view after the other."""
    rows: list[Row] = []
    numbered = sorted(enumerate(views), key=lambda item: (item[1].region, item[1].visitor, item[1].at, item[0]))
    for (region, visitor), own in groupby(numbered, key=lambda item: (item[1].region, item[1].visitor)):
        session: list[View] = []
        previous: dt.datetime | None = None
        unbroken = False  # since the first half hour of the day of the previous view
        for _, view in own:
            paused = previous is None or view.at - previous >= GAP
            midnight = previous is None or view.at.date() != previous.date()
            if session and (paused or (midnight and unbroken)):
                rows.append(summary(region, visitor, session))
                session = []
            if midnight:
                unbroken = view.at.time() < dt.time(0, 30)
            elif paused:
                unbroken = False
            session.append(view)
            previous = view.at
        rows.append(summary(region, visitor, session))
    return rows


def summary(region: str, visitor: str, session: Sequence[View]) -> Row:
    late = [view.sent for view in session if view.late]
    start, end = session[0].at, session[-1].at
    return {
        "event_date": start.date(),
        "region": region,
        "session_id": f"{visitor}|{(start - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // TICK}",
        "visitor_id": visitor,
        "session_start": start,
        "session_end": end,
        "views": len(session),
        "pages": len({view.page for view in session}),
        "entry_page": session[0].page,
        "exit_page": session[-1].page,
        "duration_ms": (end - start) // dt.timedelta(milliseconds=1),
        "late_rows": len(late),
        "restated_at": max(late, default=None),
        "state": "open",
    }


def order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["region"], row["session_id"]))


def of_days(views: Sequence[View], days: Collection[dt.date]) -> list[Row]:
    """What is published for some days, from views of these and of the days beside them alone."""
    near = {day + offset for day in days for offset in (-DAY, 0 * DAY, DAY)}
    frame = views_frame(views)
    rows = compute("sessions", page_views=frame.filter(frame["event_date"].is_in(near)))
    return [row for row in rows if row["event_date"] in days]


# So many views, each so long after the one before: runs that last for days, and pauses of all kinds.
GAPS = st.sampled_from([TICK, 7 * MINUTE, 29 * MINUTE, GAP - TICK, GAP, GAP + TICK, 45 * MINUTE, 9 * 60 * MINUTE])
RUNS = st.lists(st.tuples(GAPS, st.integers(1, 120)), min_size=1, max_size=8)


@st.composite
def streams(draw: st.DrawFn) -> list[View]:
    views: list[View] = []
    for visitor, region in (("ada", "eu"), ("bot", "eu"), ("ada", "us")):
        at = dt.datetime.combine(FIRST, dt.time(), dt.UTC) + draw(st.integers(0, 120)) * 15 * MINUTE
        for gap, count in draw(RUNS):
            for number in range(count):
                at += gap
                if at.date() <= DAYS[-1]:
                    page = ("home", "search", "product")[(number + count) % 3]
                    views.append(View(at=at, visitor=visitor, region=region, page=page, late=number % 40 == 1))
    return draw(st.permutations(views)) if len(views) < 30 else views[::-1]


@settings(max_examples=40)
@given(views=streams(), chosen=st.sets(st.sampled_from(DAYS), min_size=1))
def test_any_choice_of_days_has_the_sessions_of_the_whole_stream(views: list[View], chosen: set[dt.date]) -> None:
    whole = expected(views)
    wanted = [row for row in whole if row["event_date"] in chosen]
    assert order(of_days(views, chosen)) == order(wanted)
    assert sum(row["views"] for row in whole) == len(views)  # each view is in one session


@settings(max_examples=15)
@given(views=streams(), number=st.integers(0), minutes=st.integers(-40, 40))
def test_a_late_view_changes_its_own_day_and_the_days_beside_it_alone(
    views: list[View], number: int, minutes: int
) -> None:
    some = views[number % len(views)]
    at = some.at + minutes * MINUTE
    after = [*views, View(at=at, visitor=some.visitor, region=some.region, late=True)]
    touched = {at.date() + offset for offset in (-DAY, 0 * DAY, DAY)}
    published = [row for row in expected(views) if row["event_date"] not in touched]
    assert order(published + of_days(after, touched)) == order(expected(after))


def every(gap: dt.timedelta, first: str, last: str) -> list[View]:
    start, end = utc(first), utc(last)
    return [View(at=start + number * gap) for number in range((end - start) // gap + 1)]


def spans(views: Sequence[View]) -> list[tuple[str, str]]:
    rows = sorted(compute("sessions", page_views=views_frame(views)), key=lambda row: row["session_start"])
    return [(f"{row['session_start']:%d %H:%M}", f"{row['session_end']:%d %H:%M}") for row in rows]


def test_a_session_goes_over_midnight() -> None:
    assert spans(every(10 * MINUTE, "2026-03-31 23:40", "2026-04-01 00:20")) == [("31 23:40", "01 00:20")]


@pytest.mark.parametrize(
    ("pause", "sessions"), [(GAP - TICK, [("01 12:00", "01 12:29")]), (GAP, [("01 12:00", "01 12:00"), ("01 12:30", "01 12:30")])]
)  # fmt: skip
def test_a_pause_of_30_minutes_ends_a_session(pause: dt.timedelta, sessions: list[tuple[str, str]]) -> None:
    start = utc("2026-06-01 12:00")
    assert spans([View(at=start), View(at=start + pause)]) == sessions


def test_who_never_pauses_has_a_session_a_day_after_the_first_whole_one() -> None:
    views = every(20 * MINUTE, "2026-06-01 22:00", "2026-06-05 09:00")
    # Begun in the evening, it lasts to the end of the next day; from then on each day is whole.
    assert spans(views) == [("01 22:00", "02 23:40"), ("03 00:00", "03 23:40"), ("04 00:00", "04 23:40"), ("05 00:00", "05 09:00")]  # fmt: skip


def test_regions_and_visitors_have_sessions_of_their_own() -> None:
    at = utc("2026-06-01 12:00")
    rows = compute(
        "sessions", page_views=views_frame([View(at=at), View(at=at, region="us"), View(at=at, visitor="bob")])
    )
    assert len({(row["region"], row["session_id"]) for row in rows}) == len(rows) == 3


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_a_day_on_which_clocks_change_is_a_day_of_24_hours(day: str) -> None:
    night = every(20 * MINUTE, f"{day} 00:00", f"{day} 04:00")
    (row,) = compute("sessions", page_views=views_frame(night))
    assert (row["views"], row["duration_ms"]) == (13, 4 * 3_600_000)


def test_a_session_is_open_until_the_watermark_is_past_its_pause() -> None:
    views = every(10 * MINUTE, "2026-06-01 12:00", "2026-06-01 12:10")
    late = [*views, View(at=utc("2026-06-01 12:05"), late=True, sent=utc("2026-06-01 19:00"))]
    for watermark, state, restated in (
        (None, "open", "open"),
        ("2026-06-01 12:40", "open", "open"),
        ("2026-06-01 12:45", "closed", "restated"),  # the first quarter of an hour after the pause
    ):
        moment = None if watermark is None else utc(watermark)
        (row,) = compute("sessions", moment, page_views=views_frame(views))
        assert (row["state"], row["late_rows"], row["restated_at"]) == (state, 0, None)
        (row,) = compute("sessions", moment, page_views=views_frame(late))
        assert (row["state"], row["late_rows"], row["restated_at"]) == (restated, 1, utc("2026-06-01 19:00"))


def test_no_session_waits_for_longer_than_the_midnight_that_cuts_it() -> None:
    views = every(20 * MINUTE, "2026-06-01 22:00", "2026-06-02 23:40")
    (row,) = compute("sessions", utc("2026-06-02 23:59"), page_views=views_frame(views))
    assert row["state"] == "open"
    (row,) = compute("sessions", utc("2026-06-03 00:00"), page_views=views_frame(views))
    assert row["state"] == "closed"
