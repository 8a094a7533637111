"""The marts over time in pandas: tumbling, hopping and session windows, and the funnel.

Times when a window was restated, and whether it is open, are not facts of what happened, and are not here; `late_rows` is.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

from typing import Any

import pandas as pd

HOUR, HOP, GAP, MINUTE = (pd.Timedelta(minutes=minutes) for minutes in (60, 15, 30, 1))
DAY = pd.Timedelta(days=1)


def revenue_1m(orders: pd.DataFrame) -> pd.DataFrame:
    """Orders of each minute in which one was placed, by region and currency; of the cancelled ones only their lateness."""
    start = orders["ordered_at"].dt.floor("min")
    kept = orders["status"] != "cancelled"
    measured = orders.assign(
        window_start=start,
        window_end=start + MINUTE,
        orders=kept.astype(int),
        revenue=orders["amount"].where(kept, other=0),
        late_rows=orders["late_us"].notna().astype(int),
    )
    keys = ["event_date", "region", "currency", "window_start", "window_end"]
    return measured.groupby(keys, as_index=False)[["orders", "revenue", "late_rows"]].sum()


def traffic_hourly(views: pd.DataFrame) -> pd.DataFrame:
    """Views and visitors of each hour that begins on a quarter, in each region."""
    quarter = views["event_time"].dt.floor("15min")
    each = [views.assign(window_start=quarter - hop * HOP) for hop in range(HOUR // HOP)]
    found = (
        pd.concat(each)
        .groupby(["region", "window_start"], as_index=False)
        .agg(views=("view_id", "count"), visitors=("visitor_id", "nunique"), late_rows=("late_us", "count"))
    )
    return found.assign(window_end=found["window_start"] + HOUR, event_date=found["window_start"].dt.date)


def sessions(views: pd.DataFrame) -> pd.DataFrame:
    """Views of one visitor without a pause of 30 minutes, on the day on which they begin.

    Who is there within half an hour of midnight and does not pause until the next one begins anew after that day.
    """
    found: list[dict[str, Any]] = []
    ordered = views.sort_values(["event_time", "view_id"])
    for (region, visitor), seen in ordered.groupby(["region", "visitor_id"]):
        days = {day: _is_whole(times) for day, times in seen["event_time"].groupby(seen["event_time"].dt.floor("D"))}
        session: list[dict[str, Any]] = []
        for view in seen.to_dict("records"):
            if session and _begins(session[-1]["event_time"], view["event_time"], days):
                found.append(_session(region, visitor, session))
                session = []
            session.append(view)
        found.append(_session(region, visitor, session))
    return pd.DataFrame(found).sort_values("session_id").reset_index(drop=True)


def funnel_daily(views: pd.DataFrame, orders: pd.DataFrame) -> pd.DataFrame:
    """By day and region, visitors who came to each step, and orders of which some are paid."""
    keys = ["event_date", "region"]
    steps = [
        views[views["page"] == page].groupby(keys)["visitor_id"].nunique().rename(f"{page}_visitors")
        for page in ("product", "cart", "checkout")
    ]
    paid = orders["status"].isin(("paid", "shipped"))
    steps += [
        orders.groupby(keys)["order_id"].count().rename("orders_placed"),
        orders[paid].groupby(keys)["order_id"].count().rename("orders_paid"),
    ]
    # Also days on which nobody went further than the home page.
    seen = pd.concat([views[keys], orders[keys]]).drop_duplicates().set_index(keys).index
    return pd.concat([step.reindex(seen) for step in steps], axis=1).fillna(0).astype(int).reset_index()


def page_views_by_visitor(views: pd.DataFrame) -> pd.DataFrame:
    """By day, region and visitor: views, kinds of pages, and how long they were looked at."""
    return views.groupby(["event_date", "region", "visitor_id"], as_index=False).agg(
        views=("view_id", "count"), pages=("page", "nunique"), duration_ms=("duration_ms", "sum")
    )


def _is_whole(times: pd.Series) -> bool:
    """Of the views of one day, in order: no pause since midnight."""
    return bool(times.iloc[0] - times.iloc[0].floor("D") < GAP and not (times.diff() >= GAP).any())


def _begins(before: pd.Timestamp, now: pd.Timestamp, whole_days: dict[pd.Timestamp, bool]) -> bool:
    today = now.floor("D")
    return now - before >= GAP or (before < today and whole_days.get(today - DAY, False))


def _session(region: str, visitor: str, views: list[dict[str, Any]]) -> dict[str, Any]:
    first, last = views[0]["event_time"], views[-1]["event_time"]
    return {
        "event_date": first.date(),
        "region": region,
        "session_id": f"{visitor}|{first.value // 1000}",
        "visitor_id": visitor,
        "session_start": first,
        "session_end": last,
        "views": len(views),
        "pages": len({view["page"] for view in views}),
        "entry_page": views[0]["page"],
        "exit_page": views[-1]["page"],
        "duration_ms": (last - first) // pd.Timedelta(milliseconds=1),
        "late_rows": sum(not pd.isna(view["late_us"]) for view in views),
    }
