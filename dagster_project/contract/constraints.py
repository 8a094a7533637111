"""Bounds on the values of a column, as the standard spells them."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
from open_data_contract_standard.model import SchemaProperty
from pydantic import TypeAdapter, ValidationError

from dagster_project.contract.document import Steps
from dagster_project.contract.model import Constraints, DataType

Report = Callable[[Steps, str, str], None]

# Formats of the standard that are checked, as patterns.
_FORMATS = {"uuid": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"}
_DURATION = TypeAdapter(dt.timedelta)
# Longer than people write them; a name stands in errors, in the paths of reasons, and in SQL.
COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NOT_IN_FUTURE, _RENAMED_FROM = "notInFuture", "renamedFrom"
# Custom properties of a property that say what becomes of it from Silver on.
PROTECTION, PSEUDONYM_DOMAIN = "protection", "pseudonymDomain"
# Steps of the path to a column, `schema[0].properties[2]`; what is nested has more.
_TOP_LEVEL = 4


def compile_constraints(item: SchemaProperty, data_type: DataType, path: Steps, report: Report) -> Constraints:
    """Bounds on the values of one property; `report` receives path, what was found and what to write instead."""
    options: Mapping[str, Any] = item.logicalTypeOptions or {}
    text_format = options.get("format") if data_type.kind == "string" else None
    if text_format is not None and text_format not in _FORMATS:
        report(
            (*path, "logicalTypeOptions", "format"),
            repr(text_format),
            "one of " + ", ".join(_FORMATS) + ", or a pattern",
        )
    pattern = options.get("pattern", _FORMATS.get(text_format or ""))
    if pattern is not None:
        try:
            pl.Series([""]).str.contains(pattern)
        except pl.exceptions.ComputeError as error:
            found = f"{pattern!r} ({str(error).splitlines()[-1]})"
            report(
                (*path, "logicalTypeOptions", "pattern"),
                found,
                "a regular expression without look-around or back-references",
            )
            pattern = None
    for low, high in (("minimum", "maximum"), ("minLength", "maxLength"), ("minItems", "maxItems")):
        if low in options and high in options and options[low] > options[high]:
            report((*path, "logicalTypeOptions", low), f"{options[low]!r} > {options[high]!r}", f"{low} <= {high}")
    kinds: tuple[type, ...] = {"string": (str,), "integer": (int,)}.get(data_type.kind, (int, float))
    if misfits := [value.value for value in item.enum or () if not isinstance(value.value, kinds)]:
        report(
            (*path, "enum"), f"{misfits[0]!r} in the enum of type {data_type.kind}", f"values of type {data_type.kind}"
        )
    minimum, maximum, above, below = (
        _bound(options.get(name), data_type, (*path, "logicalTypeOptions", name), report)
        for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
    )
    multiple = options.get("multipleOf")
    if multiple is not None and data_type.kind == "number":
        # Of doubles hardly any is a whole multiple of a tenth.
        found, multiple = "multipleOf on a double", None
        report((*path, "logicalTypeOptions", "multipleOf"), found, "physicalType: decimal(p, s), or an integer")
    return Constraints(
        enum=tuple(value.value for value in item.enum or () if isinstance(value.value, (str, int, float))),
        minimum=minimum,
        maximum=maximum,
        exclusive_minimum=above,
        exclusive_maximum=below,
        multiple_of=multiple,
        min_length=options.get("minLength"),
        max_length=options.get("maxLength"),
        pattern=pattern,
        min_items=options.get("minItems"),
        max_items=options.get("maxItems"),
        unique_items=bool(options.get("uniqueItems")),
        not_in_future=_tolerance(item, data_type, path, report),
    )


def _tolerance(item: SchemaProperty, data_type: DataType, path: Steps, report: Report) -> dt.timedelta | None:
    for index, custom in enumerate(item.customProperties or ()):
        where = (*path, "customProperties", index)
        if custom.property in (_RENAMED_FROM, PROTECTION, PSEUDONYM_DOMAIN):
            continue  # of the column as a whole
        if custom.property != _NOT_IN_FUTURE:
            known = ", ".join(map(repr, (_NOT_IN_FUTURE, PROTECTION, PSEUDONYM_DOMAIN)))
            report((*where, "property"), repr(custom.property), f"one of {known}")
        elif data_type.kind not in ("timestamp", "date") or len(path) != _TOP_LEVEL:
            report(where, f"{_NOT_IN_FUTURE} on a {data_type.kind}", "a timestamp or date that is a column of its own")
        else:
            try:
                return _DURATION.validate_python(custom.value)
            except ValidationError:
                report((*where, "value"), repr(custom.value), "an ISO 8601 duration, such as PT5M or PT0S")
    return None


def renamed_from(item: SchemaProperty, path: Steps, report: Report) -> str:
    """The name that a column had in the major version before; empty where it had this one, or is new."""
    for index, custom in enumerate(item.customProperties or ()):
        if custom.property == _RENAMED_FROM:
            where = (*path, "customProperties", index)
            if not isinstance(custom.value, str) or custom.value == item.name:
                report((*where, "value"), repr(custom.value), "another name, which the column had before")
            elif not COLUMN_NAME.fullmatch(custom.value):
                report((*where, "value"), repr(custom.value), "letters, digits and _, starting with a letter")
            elif len(path) != _TOP_LEVEL:
                report(where, f"{_RENAMED_FROM} of what is nested", "a column of its own")
            else:
                return custom.value
    return ""


def _bound(value: Any, data_type: DataType, path: Steps, report: Report) -> float | str | None:
    if value is None:
        return None
    if data_type.kind in ("integer", "number", "decimal"):
        if isinstance(value, (int, float)):
            return value
        report(path, repr(value), "a number")
    elif data_type.kind in ("date", "timestamp"):
        try:
            dt.datetime.fromisoformat(str(value))
        except ValueError:
            report(path, repr(value), "an ISO 8601 date or time")
        return str(value)
    else:
        report(path, f"a bound on a {data_type.kind}", "minimum and maximum on numbers, dates and timestamps only")
    return None
