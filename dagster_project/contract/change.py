"""What changed between two versions of a contract, and whether those who use it have to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["additive", "breaking"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One difference.

    Attributes:
        path: what it is about, as people write it: `items[].quantity`, `merge key`.
        verdict: additive if everything that was written stays valid and everybody who reads can go on; else breaking.
        what: the difference itself.
        reason: why the verdict is what it is.
    """

    path: str
    verdict: Verdict
    what: str
    reason: str


def additive(path: str, what: str, reason: str) -> Change:
    return Change(path=path, verdict="additive", what=what, reason=reason)


def breaking(path: str, what: str, reason: str) -> Change:
    return Change(path=path, verdict="breaking", what=what, reason=reason)
