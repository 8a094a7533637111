"""Columns from sample messages: types, what is required, and bounds, each guess with its reason."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dagster_project.contract.sample import Field

_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# An enum has few values, and each of them often: one that is rare hints at others which the sample has not.
_ENUM, _OFTEN = 12, 20
_MONEY = re.compile(r"amount|price|cost|total|fee|tax|balance|revenue|salary|discount", re.IGNORECASE)
_CENTS = 2
_PRECISION = 18  # what fits 64 bits
_LARGEST_I64 = (1 << 63) - 1


@dataclass(frozen=True, kw_only=True)
class Guess:
    """One thing that the sample suggests and does not prove."""

    path: str
    guess: str
    because: str


Report = Callable[[str, str, str], None]


def infer_columns(row: Field, report: Report, *, within: str = "") -> list[dict[str, Any]]:
    """Properties in the words of the standard, in the order in which they were first met.

    Args:
        report: receives path, guess and reason.
    """
    properties: list[dict[str, Any]] = []
    for name, seen in row.fields.items():
        path = within + name
        if not _NAME.fullmatch(name) or name.startswith("_"):
            report(path, "left out", "columns are letters, digits and _, starting with a letter")
        elif (kind := _kind(seen)) is None:
            kinds = ", ".join(sorted(seen.kinds))
            report(path, "left out", f"it is {kinds}; a column has one type" if seen.present else "it was always null")
        else:
            required = seen.present == seen.holders
            if not required:
                report(path, "optional", f"{seen.holders - seen.present:,} of {seen.holders:,} do not have it")
            type_ = _type(seen, kind, path, report)
            properties.append({"name": name, **type_, **({"required": True} if required else {})})
    return properties


def _kind(seen: Field) -> str | None:
    """The one kind of all values, or `None`."""
    kinds = {kind for kind in seen.kinds if kind != "null"}
    if kinds == {"integer", "number"}:
        return "number"
    return kinds.pop() if len(kinds) == 1 else None


def _type(seen: Field, kind: str, path: str, report: Report) -> dict[str, Any]:
    match kind:
        case "object":
            if fields := infer_columns(seen, report, within=f"{path}."):
                return {"logicalType": "object", "properties": fields}
        case "array":
            element = seen.fields.get("")
            inner = _kind(element) if element else None
            told = report if inner == "object" else _without_bounds(report)  # of fields, bounds are kept
            if element and inner and (items := _type(element, inner, f"{path}[]", told)):
                return {"logicalType": "array", "items": _element(items)}
        case "string":
            return _string(seen, path, report)
        case "integer" | "number":
            return _number(seen, kind, path, report)
        case _:
            return {"logicalType": kind}
    report(path, "text", f"the sample says nothing of what is in this {kind}")
    return {"logicalType": "string"}


def _element(items: dict[str, Any]) -> dict[str, Any]:
    """What the platform lets an element of a list say of itself: rules on scalars in lists are written in SQL."""
    options = {name: value for name, value in items.get("logicalTypeOptions", {}).items() if name == "format"}
    kept = {name: value for name, value in items.items() if name not in ("enum", "logicalTypeOptions")}
    integer = items["logicalType"] == "integer" and options
    return {**kept, **({"logicalTypeOptions": options} if integer else {})}


def _without_bounds(report: Report) -> Report:
    def told(path: str, guess: str, because: str) -> None:
        if not guess.startswith(("one of", "at least")):
            report(path, guess, because)

    return told


def _string(seen: Field, path: str, report: Report) -> dict[str, Any]:
    values = list(map(str, seen.values))
    if all(_is_moment(value) for value in values):
        return {
            "logicalType": "timestamp",
            "logicalTypeOptions": {"timezone": True, "defaultTimezone": "Etc/UTC"},
            "physicalType": "timestamp[us, UTC]",
        }
    if all(_is_date(value) for value in values):
        return {"logicalType": "date"}
    if all(_UUID.fullmatch(value) for value in values):
        return {"logicalType": "string", "logicalTypeOptions": {"format": "uuid"}}
    if len(values) <= _ENUM and min(seen.values.values()) >= _OFTEN:
        report(path, f"one of {', '.join(sorted(values))}", f"each was met at least {_OFTEN} times, and nothing else")
        return {"logicalType": "string", "enum": [{"value": value} for value in sorted(values)]}
    return {"logicalType": "string"}


def _number(seen: Field, kind: str, path: str, report: Report) -> dict[str, Any]:
    numbers = [Decimal(value) for value in seen.values]
    options: dict[str, Any] = {}
    if all(number >= 0 for number in numbers):
        report(path, "at least 0", "no value was below")
        options = {"logicalTypeOptions": {"minimum": 0}}
    scale = max(_decimals(number) for number in numbers)
    if kind == "integer" and all(abs(number) <= _LARGEST_I64 for number in numbers) and not _is_money(path):
        return {"logicalType": "integer", **options}
    if _is_money(path) and scale <= _CENTS:
        report(path, f"decimal({_PRECISION}, {_CENTS})", "by its name it is money, which is never rounded")
        return {"logicalType": "number", "physicalType": f"decimal({_PRECISION}, {_CENTS})", **options}
    if kind == "number":
        report(path, "double", "it has fractions, and its name does not say that it is money")
    return {"logicalType": "number", **options}


def _decimals(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _is_money(path: str) -> bool:
    return _MONEY.search(path.rpartition(".")[2]) is not None


def _is_moment(text: str) -> bool:
    return _TIMESTAMP.fullmatch(text) is not None and _parses(dt.datetime.fromisoformat, text)


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(dt.date.fromisoformat, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
