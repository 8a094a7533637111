"""Variables as a person may see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dagster_project.variables.variables import Origin, Variables


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One variable.

    Attributes:
        value: empty where there is none; of a secret as much as may be seen.
        origin: where the value came from.
        purpose: what it is for.
    """

    name: str
    value: str
    origin: Origin
    purpose: str


def shown(variables: Variables) -> list[Shown]:
    return [
        Shown(name=name.upper(), value=_text(value), origin=variables.origin(name), purpose=field.description or "")
        for (name, value), field in zip(variables, Variables.model_fields.values(), strict=True)
    ]


def _text(value: Any) -> str:
    if value is None:
        return ""
    # Of a secret this is what its type lets be seen.
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else str(value)
