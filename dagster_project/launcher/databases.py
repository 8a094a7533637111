"""Dagster's SQLite databases, opened without paying each time for what never changes.

Whoever opens them asks whether they are of today's schema, and reads every migration for that; and each query is made with an
engine of its own, which knows no statement that another one has compiled. A sensor's tick opens them each time: of 140 ms of
CPU, in the daemon and in the code server together, that was more than half.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from sqlalchemy import Engine

# Dagster keeps one configuration of migrations for each of its databases: runs, events, ticks.
_DATABASES = 3
# The same, and one for the events of each run, of which few are looked at at a time. An engine holds no connection.
_ENGINES = 64


def open_cheaply() -> None:
    """For the rest of this process."""
    ScriptDirectory.from_config = functools.lru_cache(maxsize=_DATABASES)(ScriptDirectory.from_config)
    sqlite_event_log.create_engine = _once(sqlite_event_log.create_engine)
    sqlite_run_storage.create_engine = _once(sqlite_run_storage.create_engine)
    sqlite_schedule_storage.create_engine = _once(sqlite_schedule_storage.create_engine)


def _once(create_engine: Callable[..., Engine]) -> Callable[..., Engine]:
    """An engine for each database; one module always asks for the same kind."""
    options: dict[str, Any] = {}
    engine = functools.lru_cache(maxsize=_ENGINES)(lambda url: create_engine(url, **options))

    def create(url: str, **others: Any) -> Engine:
        options.update(others)
        return engine(url)

    return create
