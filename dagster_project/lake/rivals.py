"""Trying again where another writer came first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dagster_project.errors import StaleCursorError

_T = TypeVar("_T")
# On a busy stream a run of the daemon commits again and again; each try takes about a second.
_TRIES = 12


def until_first(step: Callable[[], _T]) -> _T:
    """Do something that reads a table anew and commits to it, until no other writer comes first.

    Raises:
        StaleCursorError: others commit all the time.
    """
    for _ in range(_TRIES - 1):
        try:
            return step()
        except StaleCursorError:
            continue
    return step()
