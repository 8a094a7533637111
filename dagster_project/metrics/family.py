"""A metric: its name, what it says, its unit, and the labels that tell its values apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, kw_only=True)
class Family:
    """All values of one name.

    Attributes:
        help: what it says, in one sentence without its last dot.
        unit: of the values.
        labels: their names. Values of labels come from the contracts, and never from events.
    """

    name: str
    help: str
    unit: str
    labels: tuple[str, ...] = ()

    def of(self, value: float, *labels: str) -> Sample:
        """A value, with those of the labels in their order."""
        return Sample(self, labels, value)


class Sample(NamedTuple):
    """One value."""

    family: Family
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where samples come from: one external system each, so that none waits for another that does not answer.

    Attributes:
        families: all that it may give.
        read: gives them as of a moment, in seconds since the epoch.
        every_s: how long what it has given stands before it is asked again.
    """

    name: str
    families: tuple[Family, ...]
    read: Callable[[float], Iterable[Sample]]
    every_s: float = 0.0
