"""What is known of alerts on this machine, for when the lake does not answer: its last state, and what came since.

A file, not memory alone: the process that looks may be started anew while the store is down, and would tell of everything a
second time.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dagster_project.alerts.alert import Alert, from_row
from dagster_project.alerts.book import Book, Progress

_TIMES = ("at", "since", "told_at")


@dataclass(frozen=True, kw_only=True)
class Local:
    """A book that this machine keeps.

    Attributes:
        unsaved: transitions of the book that the lake does not have yet.
    """

    book: Book = field(default_factory=Book)
    unsaved: tuple[Alert, ...] = ()

    def merged(self, lake: Book) -> dict[str, Progress]:
        """How far sinks have got once the lake has what is unsaved: a sink that had all of the lake's has those, too."""
        before = self.book.sequence - len(self.unsaved)
        return {
            name: replace(own, told=lake.sequence + max(own.told - before, 0))
            for name, own in self.book.sinks.items()
            if name in lake.sinks and lake.sinks[name].told == lake.sequence
        }


def load(path: Path) -> Local:
    """What the file has; nothing where there is none, or where it is not whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        book = found["book"]
        return Local(
            book=Book(
                alerts=tuple(map(_alert, book["alerts"])),
                untold=tuple(map(_alert, book["untold"])),
                sequence=book["sequence"],
                sinks={name: Progress(**item) for name, item in book["sinks"].items()},
            ),
            unsaved=tuple(map(_alert, found["unsaved"])),
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Local()  # of another version, or cut short: the lake has the truth as soon as it answers


def save(path: Path, local: Local) -> None:
    """Write the file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f"{path.name}.{os.getpid()}")
    staged.write_text(json.dumps(asdict(local), default=_text), encoding="utf-8")
    staged.replace(path)


def _text(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value.isoformat()


def _alert(row: dict[str, Any]) -> Alert:
    times = {name: dt.datetime.fromisoformat(row[name]) for name in _TIMES}
    return from_row(row | times)
