"""An alert that is none, to try a sink with."""

from __future__ import annotations

import datetime as dt

from dagster_project.alerts.alert import Alert


def trial(now: dt.datetime) -> Alert:
    """Looks like any other, and says that nothing is wrong."""
    return Alert(
        alert="lag",
        scope="test",
        state="new",
        severity="warning",
        at=now,
        since=now,
        told_at=now,
        summary="this is a test of the sink by `lakehouse alerts test`; nothing is wrong",
        command="lakehouse alerts",
        correlation_id="test",
    )
