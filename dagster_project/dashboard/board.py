"""What all viewers see: worked out once, spelled once, and sent to each as far as it lacks it."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import decimal
import json
import math
import secrets
from collections.abc import Mapping
from typing import Any


class Board:
    """Sections by name, each with the number of the look at which it changed.

    A viewer says which number it has seen and gets what changed since then, so one that is slow, or was away, skips what
    was there in between; nothing is kept for anybody.
    """

    def __init__(self) -> None:
        # Numbers begin anew with each process; whoever comes with one of another process gets everything.
        self._boot = secrets.token_hex(4)
        self._number = 0
        self._sections: dict[str, tuple[int, bytes]] = {}
        self._at = b"null"
        self._messages: dict[int, bytes] = {}
        self._news = asyncio.Event()
        self.closed = False

    @property
    def number(self) -> int:
        return self._number

    @property
    def event_id(self) -> str:
        return f"{self._boot}-{self._number}"

    def publish(self, sections: Mapping[str, bytes], *, at: dt.datetime) -> None:
        """Take over sections, as JSON; those that are not among them stay as they were."""
        self._number += 1
        self._at = spelled(at)
        for name, content in sections.items():
            if self._sections.get(name, (0, b""))[1] != content:
                self._sections[name] = self._number, content
        self._messages = {}
        self._wake()

    def close(self) -> None:
        """Tell all viewers to go."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def seen(self, event_id: str) -> int:
        """The number that an event id names; 0 for one that is not of this process."""
        boot, _, number = event_id.partition("-")
        return int(number) if boot == self._boot and number.isdecimal() else 0

    def content(self, since: int = 0) -> bytes:
        """What changed after a number, as one JSON object."""
        changed = (
            b"%s:%s" % (json.dumps(name).encode(), content)
            for name, (number, content) in self._sections.items()
            if number > since
        )
        return b'{"id":"%s","at":%s,"sections":{%s}}' % (self.event_id.encode(), self._at, b",".join(changed))

    def message(self, since: int) -> bytes:
        """The same as a server-sent event; spelled once for all viewers who have seen as much."""
        if since not in self._messages:
            self._messages[since] = b"id: %s\nevent: look\ndata: %s\n\n" % (self.event_id.encode(), self.content(since))
        return self._messages[since]

    async def after(self, number: int, *, seconds: float) -> bool:
        """Wait until there is something after a number; false if there is nothing for so long."""
        if self._number > number or self.closed:
            return True
        try:
            await asyncio.wait_for(self._news.wait(), seconds)
        except TimeoutError:
            return False
        return True


def spelled(value: Any) -> bytes:
    """Frozen values as JSON; times in ISO 8601, decimals as text, and no number for what is none."""
    return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, decimal.Decimal):
        return str(value)
    return value
