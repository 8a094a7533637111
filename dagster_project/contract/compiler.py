"""Walking a validated ODCS document: what datasets and marts have in common, and a list of all that is wrong."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Sequence
from typing import Any

from open_data_contract_standard.model import CustomProperty, SchemaObject
from pydantic import TypeAdapter, ValidationError

from dagster_project.contract.columns import compile_columns
from dagster_project.contract.document import Document, Problem, Steps, refuse
from dagster_project.contract.model import Column

_DURATION = TypeAdapter(dt.timedelta)
# Names become folder names, Dagster keys and SQL identifiers, so they keep to what is plain in all three.
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Compiler:
    """Walks one document and gathers problems, so that a user sees all of them at once."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []

    def problem(self, path: Steps, found: str, expected: str) -> None:
        self.problems.append(Problem(path=path, found=found, expected=expected))

    def finish(self) -> None:
        if self.problems:
            raise refuse(self.document.source, self.document.lines, self.problems)

    def custom(self, properties: Sequence[CustomProperty] | None, path: Steps, known: Sequence[str]) -> dict[str, Any]:
        """Custom properties by name; an unknown name is refused, with the nearest known one."""
        values: dict[str, Any] = {}
        for index, item in enumerate(properties or ()):
            name = item.property or ""
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"{near[0]!r}" if near else "one of " + ", ".join(known)
                self.problem((*path, "customProperties", index, "property"), repr(name), hint)
            values[name] = item.value
        return values

    def duration(self, value: object, path: Steps, default: dt.timedelta) -> dt.timedelta:
        if value is None:
            return default
        try:
            duration = _DURATION.validate_python(value, strict=False) if isinstance(value, str) else None
        except ValidationError:
            duration = None
        if duration is None or duration <= dt.timedelta(0):
            self.problem(path, repr(value), "a positive ISO 8601 duration, such as PT10M or P7D")
            return default
        return duration

    def number(self, value: object, path: Steps, default: int) -> int:
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            self.problem(path, repr(value), "a whole number of at least 1")
            return default
        return value

    def header(self) -> dict[str, Any]:
        """What datasets and marts share: names, owners, version."""
        model = self.document.model
        table = self.table
        name = table.name or ""
        if not NAME.fullmatch(name):
            self.problem(("schema", 0, "name"), repr(name), "lower-case letters, digits and _, starting with a letter")
        team = model.team
        members = () if team is None or isinstance(team, list) else (team.members or ())
        owners = tuple([f"team:{team.name}"] if team is not None and not isinstance(team, list) and team.name else [])
        if not owners and not members:
            self.problem(("team",), "no team", "team: {name: …}, so that someone is called when it breaks")
        description = model.description.purpose if model.description and model.description.purpose else ""
        return {
            "name": name,
            "version": model.version or "",
            "description": table.description or description,
            "domain": model.domain or "default",
            "owners": owners,
            "source": self.document.source,
        }

    @property
    def table(self) -> SchemaObject:
        schema = self.document.model.schema_ or []
        if len(schema) != 1:
            self.problem(
                ("schema",), f"{len(schema)} schema objects", "exactly one: a contract describes one topic or mart"
            )
            self.finish()
        return schema[0]

    def columns(self) -> tuple[Column, ...]:
        """Columns of the table; names that the platform needs for itself are refused."""
        base: Steps = ("schema", 0, "properties")
        columns = compile_columns(self.table.properties or [], base, self.problem)
        if not columns:
            self.problem(base, "no columns", "at least one property")
        return columns

    def merge_key(self) -> tuple[str, ...]:
        keys = [
            (item.primaryKeyPosition if item.primaryKeyPosition is not None else 1, item.name or "")
            for item in self.table.properties or []
            if item.primaryKey
        ]
        if not keys:
            self.problem(("schema", 0, "properties"), "no primary key", "primaryKey: true on at least one property")
        if len({position for position, _ in keys}) != len(keys):
            self.problem(("schema", 0, "properties"), "two key columns at one position", "primaryKeyPosition: 1, 2, …")
        return tuple(name for _, name in sorted(keys))

    def sla(self, name: str, default: dt.timedelta) -> dt.timedelta:
        units = {"minutes": "minutes", "hours": "hours", "days": "days", "seconds": "seconds"}
        for index, item in enumerate(self.document.model.slaProperties or ()):
            if item.property != name:
                continue
            unit = units.get(item.unit or "")
            if unit is None:
                self.problem(
                    ("slaProperties", index, "unit"), repr(item.unit), "seconds, minutes, hours or days, spelt out"
                )
            elif not isinstance(item.value, (int, float)) or isinstance(item.value, bool) or item.value <= 0:
                self.problem(("slaProperties", index, "value"), repr(item.value), "a positive number")
            else:
                return dt.timedelta(**{unit: item.value})
        return default
