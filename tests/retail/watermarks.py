"""Watermarks in pandas, and what they make of a window."""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false
# pyright: reportOperatorIssue=false, reportReturnType=false

from __future__ import annotations

import pandas as pd

from tests.retail.frames import DECODED, LATENESS

IDLE = pd.Timedelta(minutes=10)  # as the contracts have it


def watermarks(sent: pd.DataFrame) -> pd.DataFrame:
    """Of all that was sent to a topic and read: `at` and `silent` of each region. What is poison is no event.

    Of what was sent after it happened: a clock that runs ahead is not provided for.
    """
    events = sent[sent["fate"].isin(DECODED) & ~sent["deleted"]]
    at: dict[str, pd.Timestamp] = {}
    for region, own in events.groupby("region"):
        newest = [times.max() for _, times in own.groupby("kafka_partition")["event_time"]]
        at[region] = min(time for time in newest if time >= max(newest) - IDLE) - LATENESS
    silent = [time < max(at.values()) - IDLE for time in at.values()]
    return pd.DataFrame({"at": at.values(), "silent": silent}, index=pd.Index(at, name="region"))


def with_state(windows: pd.DataFrame, marks: pd.DataFrame, end: str = "window_end") -> pd.DataFrame:
    """Each window's `state`: open until the watermark of its region has come to its end, then closed, or restated."""
    closed = windows["region"].map(marks["at"]) >= windows[end]
    state = closed.map({True: "closed", False: "open"}).mask(closed & (windows["late_rows"] > 0), "restated")
    return windows.assign(state=state)


def session_end(sessions: pd.DataFrame) -> pd.Series:
    """From when on nothing can join a session: the quarter of an hour after its pause, or the cut after a whole day."""
    quarter = (sessions["session_end"] + pd.Timedelta(minutes=45)).dt.floor("15min")
    cut = pd.to_datetime(sessions["event_date"], utc=True) + pd.Timedelta(days=2)
    return quarter.where(quarter < cut, cut)
