"""A contract's columns in the words of a page for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, Constraints

_PROTECTIONS = {"": "", "pseudonymise": "a pseudonym from Silver on", "drop": "not in Silver and after"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One column, or one field inside of one, as a line of a table."""

    path: str
    type: str
    required: bool
    rules: tuple[str, ...]
    classification: str
    description: str


def lines(columns: Sequence[Column], *, within: str = "") -> Iterator[Line]:
    """All columns with all that is in them, depth first."""
    for column in columns:
        inner, path = column.type, within + column.name
        yield Line(
            path=path,
            type=describe(inner) if not inner.fields and inner.element is None else inner.kind,
            required=column.required,
            rules=tuple(rules(column.constraints)),
            classification=", ".join(filter(None, (column.classification, _PROTECTIONS[column.protection]))),
            description=column.description,
        )
        while inner.element is not None:
            inner, path = inner.element, f"{path}[]"
        yield from lines(inner.fields, within=f"{path}.")


def rules(bounds: Constraints) -> Iterator[str]:
    """What a value must keep to."""
    if bounds.enum:
        yield "one of " + ", ".join(map(str, bounds.enum))
    yield from _range(bounds.minimum, bounds.maximum, "")
    if bounds.exclusive_minimum is not None:
        yield f"more than {bounds.exclusive_minimum}"
    if bounds.exclusive_maximum is not None:
        yield f"less than {bounds.exclusive_maximum}"
    if bounds.multiple_of is not None:
        yield f"a multiple of {bounds.multiple_of}"
    if bounds.not_in_future is not None:
        yield "not in the future"
    yield from _range(bounds.min_length, bounds.max_length, " characters")
    yield from _range(bounds.min_items, bounds.max_items, " elements")
    if bounds.unique_items:
        yield "no element twice"
    if bounds.pattern is not None:
        yield f"matches {bounds.pattern}"


def _range(low: float | str | None, high: float | str | None, unit: str) -> Iterator[str]:
    if low is not None and low == high:
        yield f"exactly {low}{unit}"
    elif low is not None and high is not None:
        yield f"{low} to {high}{unit}"
    elif low is not None:
        yield f"at least {low}{unit}"
    elif high is not None:
        yield f"at most {high}{unit}"


def duration(span: dt.timedelta) -> str:
    """A time span in its largest whole unit: `90 minutes`, `1 hour`, `7 days`."""
    seconds = int(span.total_seconds())
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        if seconds % size == 0:
            count = seconds // size
            return f"{count} {unit}" + ("" if count == 1 else "s")
    raise AssertionError("every whole number of seconds has a unit")
