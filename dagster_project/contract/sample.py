"""What sample messages hold, field by field."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from dagster_project.errors import ContractError

# Values of a field that are remembered, to tell an enum from free text: far more than any enum has.
MOST_VALUES = 1_000
_KINDS: Mapping[type, str] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    Decimal: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


@dataclass(kw_only=True)
class Field:
    """One field over all messages, or over all objects that can hold it.

    Attributes:
        holders: objects that could have had it.
        kinds: how often which kind of JSON value was met; an absent field is none.
        values: scalars and how often each was met; up to `MOST_VALUES` different ones.
        fields: of objects, what they hold. Of arrays, their elements, under the empty name.
    """

    holders: int = 0
    kinds: Counter[str] = field(default_factory=Counter[str])
    values: Counter[Any] = field(default_factory=Counter[Any])
    fields: dict[str, Field] = field(default_factory=dict[str, "Field"])

    def add(self, value: object) -> None:
        """Take note of a value."""
        self.kinds[_KINDS[type(value)]] += 1
        if isinstance(value, dict):
            for name, inner in value.items():
                self.fields.setdefault(name, Field()).add(inner)
        elif isinstance(value, list):
            for inner in value:
                self.fields.setdefault("", Field()).add(inner)
        elif value is not None and (len(self.values) < MOST_VALUES or value in self.values):
            self.values[value] += 1

    def close(self) -> None:
        """Tell all fields how many objects could have held them."""
        for name, inner in self.fields.items():
            inner.holders = sum(inner.kinds.values()) if not name else self.kinds["object"]
            inner.close()

    @property
    def present(self) -> int:
        """How often it had a value."""
        return sum(self.kinds.values()) - self.kinds["null"]


def read_messages(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Messages, one JSON object a line; blank lines do not count. Numbers with a fraction are exact decimals.

    Raises:
        ContractError: a line is none, or there is none at all.
    """
    messages = list(_objects(lines))
    if not messages:
        raise ContractError(
            "the sample holds no message", expected="one JSON object a line", remedy="name a file with some messages"
        )
    return messages


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            message = json.loads(line, parse_float=Decimal, parse_constant=_no_constant)
        except ValueError as error:
            raise ContractError(
                f"line {number} of the sample is no JSON: {error}",
                expected="one JSON object a line",
                remedy="take the line out; poison is what a contract is to refuse",
            ) from error
        if not isinstance(message, dict):
            raise ContractError(
                f"line {number} of the sample is {_KINDS.get(type(message), 'something')}, no object",
                expected="one JSON object a line",
                remedy="take the line out; a row needs names for its columns",
            )
        yield message


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def observe(messages: Iterable[Mapping[str, Any]]) -> Field:
    """All fields of all messages."""
    row = Field()
    for message in messages:
        row.add(dict(message))
    row.close()
    return row
