"""Commits as steps: which version, when, and by which run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from dagster_project.lake.log import Commit
from dagster_project.tracing.story import Stage, Step


def step(
    stage: Stage,
    where: str,
    text: str,
    *,
    commit: Commit | None,
    at: dt.datetime | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Step:
    """A step that a commit made.

    Args:
        commit: `None` where the log does not spell it out any more.
        at: when, as far as rows tell; the commit's own time goes before it.
    """
    return Step(
        stage=stage,
        at=at if commit is None else time_of(commit),
        where=where,
        text=text,
        version=None if commit is None else commit.version,
        run="" if commit is None else str(commit.info.get("run_id", "")),
        facts=facts or {},
    )


def time_of(commit: Commit) -> dt.datetime:
    """When a commit was made."""
    return dt.datetime.fromtimestamp(commit.timestamp_ms / 1000, dt.UTC)
