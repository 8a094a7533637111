"""Hand-written sample events: one JSON object a line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from dagster_project.contract.model import Dataset
from dagster_project.errors import ConfigurationError
from dagster_project.sources.events import Event, Headers, join_key
from dagster_project.sources.source import Source


@dataclass(frozen=True, kw_only=True)
class Sample(Source):
    """The lines of a file as events, blank ones left out. A line that is no JSON object is sent as it is, unkeyed."""

    lines: tuple[bytes, ...]

    @classmethod
    def read(cls, dataset: Dataset, path: Path) -> Sample:
        """Raises: ConfigurationError: the file cannot be read."""
        try:
            text = path.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {path}: {error.strerror}", expected="a file with one JSON object a line"
            ) from error
        return cls(dataset=dataset, lines=tuple(line for line in text.split(b"\n") if line.strip()))

    @property
    def parameters(self) -> Mapping[str, object]:
        # The text and not the path: an edited file is another stream, a copied one is the same.
        return {"sha256": hashlib.sha256(b"\n".join(self.lines)).hexdigest()}

    def __len__(self) -> int:
        return len(self.lines)

    def __iter__(self) -> Iterator[Event]:
        for line, headers in zip(self.lines, self.headers(), strict=False):
            yield self._event(line, headers)

    def _event(self, line: bytes, headers: Headers) -> Event:
        poison = Event(key=None, value=line, headers=headers, kind="decode", trouble="not_an_object")
        try:
            value: object = json.loads(line.decode())
            if not isinstance(value, dict):
                return poison
            row = cast("dict[str, object]", value)
            key = [row.get(name) for name in self.dataset.merge_key]
            event_time = row.get(self.dataset.event_time)
            return Event(
                key=None if None in key else join_key(map(_text, key)),
                value=line,
                headers=headers,
                kind="sample",
                event_time=event_time if isinstance(event_time, str) else None,
            )
        except (ValueError, RecursionError):  # not UTF-8, not JSON, text that has no UTF-8, or nested beyond reason
            return poison


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
