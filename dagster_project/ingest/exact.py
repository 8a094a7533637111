"""Decoding one JSON payload exactly: the reference for what a payload means, and the namer of what is wrong with it.

Slow (one Python call a message), so it sees only the messages that the columnar decoder could not vouch for.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Sized
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any

import numpy as np

from dagster_project.contract.dtypes import describe
from dagster_project.contract.model import Column, DataType
from dagster_project.lake.specs import RESCUED

# Numbers of more digits than this cannot be parsed in reasonable time and fit no column anyway.
MAX_DIGITS = 400
# Of a list. What has more is a table and no event, and each element may be a row's worth of values.
MAX_ITEMS = 100_000
# That the contract does not know, in one message. The widest tables have some thousand columns.
MAX_MEMBERS = 10_000
# Deeper than any event, and far from Python's own limit, which depends on how deep the caller stands: the same message
# must get the same verdict everywhere.
MAX_DEPTH = 200
_BLANKS = re.compile(r"[ \t\n\r]*")
# Only where a value ends is asked of it; numbers need not be made for that.
_RAW = json.JSONDecoder(parse_float=str, parse_int=str)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
# By byte, how much deeper it leads.
_STEPS = np.array([(code in b"[{") - (code in b"]}") for code in range(256)], np.int8)
_HUGE = 20  # decimal exponent that is beyond any 64-bit integer
# Hours end at 23: some parsers take 24:00 for the next day, others do not.
TIMESTAMP_PATTERN = r"\d{4}-\d\d-\d\d([T ]([01]\d|2[0-3]):\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]([01]\d|2[0-3]):\d\d)?)?"
_TIMESTAMP = re.compile(TIMESTAMP_PATTERN)
_SURROGATE = re.compile("[\ud800-\udfff]")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_NAMES = {
    bool: "boolean",
    int: "number",
    Decimal: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


class Rejected(Exception):  # noqa: N818 a verdict on a payload, not a fault of ours
    """The payload does not fit the contract; the text is the reason, `<path>.<rule>: <what was found>`."""


def decode(payload: bytes, columns: tuple[Column, ...]) -> dict[str, Any]:
    """Decode one payload into Python values by column name; absent and null fields are `None`.

    Beside the columns there is `_rescued`: a JSON object of the fields that the contract does not know, or of which it
    does not know all, as they were sent; `None` if there are none.

    Raises:
        Rejected: the payload is not a JSON object, or a value is not of its column's type.
    """
    if _too_deep(payload):
        raise Rejected("payload.depth: nested too deeply")
    try:
        text = payload.decode("utf-8")
        document = json.loads(
            text,
            parse_float=_fraction,
            parse_int=_integer,
            parse_constant=_constant,
            object_pairs_hook=_first_wins,
        )
    except UnicodeDecodeError as error:
        raise Rejected(f"payload.utf8: invalid byte at {error.start}") from error
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise Rejected(f"payload.json: {reason}") from error
    if not isinstance(document, dict):
        raise Rejected(f"payload.object: found {_NAMES[type(document)]}")
    values = {column.name: _convert(document.get(column.name), column.type, column.name) for column in columns}
    return {**values, RESCUED: _rescued(text, document, columns)}


def _rescued(text: str, document: dict[str, Any], columns: tuple[Column, ...]) -> str | None:
    types = {column.name: column.type for column in columns}
    unknown = {name for name, value in document.items() if name not in types or _has_more(value, types[name])}
    if not unknown:
        return None
    members = list(islice((member for name, member in _members(text) if name in unknown), MAX_MEMBERS + 1))
    if len(members) > MAX_MEMBERS:
        raise Rejected(f"payload.members: more than {MAX_MEMBERS} that the contract does not know")
    return "{" + ",".join(members) + "}"


def _has_more(value: Any, data_type: DataType) -> bool:
    """Whether there is a field anywhere in a value that its type does not know."""
    if isinstance(value, list) and data_type.element is not None:
        return any(_has_more(item, data_type.element) for item in value)
    if isinstance(value, dict):
        types = {field.name: field.type for field in data_type.fields}
        return any(name not in types or _has_more(inner, types[name]) for name, inner in value.items())
    return False


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Name and source text, `"name": value`, of each member of an object that is known to be valid JSON."""
    place = _past_blanks(text, 0)
    while text[place] != "}":
        start = _past_blanks(text, place + 1)  # past the brace or comma
        if text[start] == "}":
            return
        name, place = _RAW.raw_decode(text, start)
        place = _past_blanks(text, _past_blanks(text, place) + 1)
        _, end = _RAW.raw_decode(text, place)
        yield name, text[start:end]
        place = _past_blanks(text, end)


def _past_blanks(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    assert found is not None
    return found.end()


def decode_key(key: bytes | None, columns: list[Column]) -> dict[str, Any]:
    """Decode a message key: the merge key's values, joined with `|`, as text.

    Raises:
        Rejected: the key does not spell a value for each column.
    """
    try:
        parts = (key or b"").decode("utf-8").split("|")
        if len(parts) != len(columns) or not all(parts):
            raise Rejected(f"key.parts: found {len(parts) if key else 0}, expected {len(columns)} joined with '|'")
        numeric = ("integer", "number", "decimal")
        if any(
            len(part) > MAX_DIGITS and column.type.kind in numeric for part, column in zip(parts, columns, strict=True)
        ):
            raise Rejected("key.type: a number of too many digits")
        values = [
            Decimal(part) if column.type.kind in numeric else part for part, column in zip(parts, columns, strict=True)
        ]
        # Python takes 'NaN' and 'Infinity' for numbers, too.
        if any(isinstance(value, Decimal) and not value.is_finite() for value in values):
            raise Rejected("key.type: not the merge key's values as text")
    except (UnicodeDecodeError, InvalidOperation) as error:
        raise Rejected("key.type: not the merge key's values as text") from error
    return {
        column.name: _convert(value, column.type, f"key.{column.name}")
        for value, column in zip(values, columns, strict=True)
    }


def _too_deep(payload: bytes) -> bool:
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    plain = np.frombuffer(_STRING.sub(b"", payload), np.uint8)
    return bool(np.cumsum(_STEPS[plain], dtype=np.int32).max(initial=0) > MAX_DEPTH)


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("integer of too many digits")
    return int(text)


def _fraction(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise ValueError("number of too many digits")
    return Decimal(text)


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of a repeated field the first counts, as in DuckDB."""
    return dict(reversed(pairs))


def _convert(value: Any, data_type: DataType, path: str) -> Any:  # noqa: C901, PLR0912 one case a type
    if value is None:
        return None
    match data_type.kind, value:
        case "string", str():
            # A lone surrogate is legal in JSON's escapes and in no encoding.
            if _SURROGATE.search(value):
                raise Rejected(f"{path}.utf8: lone surrogate")
            return value
        case "boolean", bool():
            return value
        case (("integer" | "number" | "decimal"), bool()):
            pass
        case "integer", int() | Decimal():
            return _as_integer(value, data_type, path)
        case "number", int() | Decimal():
            return _as_double(value, path)
        case "decimal", int() | Decimal():
            return as_decimal(Decimal(value), data_type, path)
        case "decimal", str():
            return as_decimal(_parse_decimal(value, data_type, path), data_type, path)
        case "timestamp", str():
            return _as_timestamp(value, path)
        case "date", str():
            return _as_date(value, path)
        case "list", list():
            assert data_type.element is not None
            check_length(value, path)
            return [_convert(item, data_type.element, f"{path}[]") for item in value]
        case "struct", dict():
            return {
                field.name: _convert(value.get(field.name), field.type, f"{path}.{field.name}")
                for field in data_type.fields
            }
        case _:
            pass
    raise _mismatch(value, data_type, path)


def check_length(items: Sized, path: str) -> None:
    """Refuse a list of too many elements."""
    if len(items) > MAX_ITEMS:
        raise Rejected(f"{path}.items: more than {MAX_ITEMS} elements")


def _mismatch(value: Any, data_type: DataType, path: str) -> Rejected:
    # The value itself stays out of the reason: it may be confidential.
    return Rejected(f"{path}.type: found {_NAMES[type(value)]}, expected {describe(data_type)}")


def _as_integer(value: int | Decimal, data_type: DataType, path: str) -> int:
    # A huge exponent would be expanded into as many digits before any comparison.
    if isinstance(value, Decimal) and (value.adjusted() > _HUGE or value != value.to_integral_value()):
        raise Rejected(f"{path}.type: found a fraction or a huge number, expected {describe(data_type)}")
    bound = 1 << (data_type.bits - 1)
    if not -bound <= int(value) < bound:
        raise Rejected(f"{path}.range: does not fit {describe(data_type)}")
    return int(value)


def _as_double(value: int | Decimal, path: str) -> float:
    try:
        result = float(value)
    except OverflowError:
        result = float("inf")
    if result in (float("inf"), float("-inf")):
        raise Rejected(f"{path}.range: does not fit double")
    return result


def _parse_decimal(value: str, data_type: DataType, path: str) -> Decimal:
    if len(value) > MAX_DIGITS:
        raise _mismatch(value, data_type, path)
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise _mismatch(value, data_type, path) from error
    if not number.is_finite():
        raise _mismatch(value, data_type, path)
    return number


def as_decimal(value: Decimal, data_type: DataType, path: str) -> Decimal:
    """Money is never rounded: more decimals than the contract has are an error."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    if value and (value.adjusted() >= data_type.precision - data_type.scale):
        raise Rejected(f"{path}.range: does not fit {describe(data_type)}")
    trailing = len(digits) - len("".join(map(str, digits)).rstrip("0")) if value else len(digits)
    if value and -(exponent + trailing) > data_type.scale:
        raise Rejected(f"{path}.scale: more than {data_type.scale} decimals, expected {describe(data_type)}")
    # Zeros behind the last decimal are more digits than a column has.
    zeros = min(trailing, max(0, -exponent))
    return Decimal((sign, digits[: len(digits) - zeros], exponent + zeros)) if value else Decimal(0)


def _as_timestamp(value: str, path: str) -> dt.datetime:
    try:
        if not _TIMESTAMP.fullmatch(value):
            raise ValueError("not ISO 8601")
        moment = dt.datetime.fromisoformat(value)
        # A time without a zone is UTC, the contract's default.
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise Rejected(f"{path}.type: expected an ISO 8601 timestamp of at most microseconds") from error


def _as_date(value: str, path: str) -> dt.date:
    try:
        if not _DATE.fullmatch(value):
            raise ValueError("not ISO 8601")
        return dt.date.fromisoformat(value)
    except ValueError as error:
        raise Rejected(f"{path}.type: expected an ISO 8601 date") from error
