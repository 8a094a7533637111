"""Dagster's storage, opened without reading all its migrations each time.

Whoever opens it asks whether it is of today's schema, and reads every migration of its three databases for that. A
sensor's tick opens it each time: 50 ms of CPU, of the 70 that a tick took. The migrations are files of Dagster's package.
"""

from __future__ import annotations

import functools

from alembic.script import ScriptDirectory

# Dagster keeps one configuration for each of its databases: runs, events, ticks.
_DATABASES = 3


def read_once() -> None:
    """For the rest of this process."""
    ScriptDirectory.from_config = functools.lru_cache(maxsize=_DATABASES)(ScriptDirectory.from_config)
