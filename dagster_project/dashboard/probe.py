"""Looking at something again and again in a thread of its own, and keeping what was seen when it cannot be seen any more."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from dagster_project.errors import LakehouseError

# An answer that takes longer is none: what it says would be old when it comes, and a person is to be told within five seconds.
_PATIENCE_S = 3.0
# Nobody watches: nothing is looked at. A page that is reloaded, or a phone that wakes up, finds it still at work.
_AWAKE_S = 60.0
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Seen(Generic[_T]):
    """What was seen last.

    Attributes:
        value: `None` before the first answer.
        at: when it was seen.
        failing_since: since when there is no answer; `None` while there are answers.
        error: why there is none; empty while there are answers.
    """

    value: _T | None = None
    at: dt.datetime | None = None
    failing_since: dt.datetime | None = None
    error: str = ""


class Probe(Generic[_T]):
    """Looks every so often while somebody watches. One that hangs or fails keeps no other from looking."""

    def __init__(self, name: str, look: Callable[[], _T], *, every_s: float) -> None:
        self._look = look
        self._every_s = every_s
        self._seen: Seen[_T] = Seen()
        self._began: dt.datetime | None = None
        self._until = 0.0
        self._wake = threading.Condition()
        self._ended = False
        # A daemon: a look that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"probe-{name}", daemon=True)

    @property
    def seen(self) -> Seen[_T]:
        """What was seen last, and whether the present look takes too long."""
        seen, began = self._seen, self._began
        now = dt.datetime.now(dt.UTC)
        if seen.failing_since is None and began is not None and (now - began).total_seconds() > _PATIENCE_S:
            return replace(seen, failing_since=began, error=f"no answer within {_PATIENCE_S:.0f} s")
        return seen

    def start(self) -> None:
        self.wake()
        self._thread.start()

    def wake(self) -> None:
        """Somebody watches: look now if nobody did, and go on for a while."""
        with self._wake:
            self._until = time.monotonic() + _AWAKE_S
            self._wake.notify()

    def stop(self) -> None:
        """Look no more; does not wait for a look that hangs."""
        with self._wake:
            self._ended = True
            self._wake.notify()

    def look(self) -> None:
        """Look once."""
        self._began = began = dt.datetime.now(dt.UTC)
        try:
            value = self._look()
        except Exception as error:  # noqa: BLE001 whatever fails, the page says so and goes on
            since = self._seen.failing_since or began
            self._seen = replace(self._seen, failing_since=since, error=_told(error))
        else:
            self._seen = Seen(value=value, at=began)
        finally:
            self._began = None

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            self.look()
            with self._wake:
                self._wake.wait_for(lambda: self._ended, max(0.0, began + self._every_s - time.monotonic()))
                self._wake.wait_for(lambda: self._ended or time.monotonic() < self._until)
                if self._ended:
                    return


def _told(error: Exception) -> str:
    """What a page may say of an error. A library's own text may have an address with a password in it."""
    return error.found if isinstance(error, LakehouseError) else type(error).__name__
