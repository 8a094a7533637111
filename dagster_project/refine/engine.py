"""What computes the rows of a mart: the seam between deciding, auditing and publishing, and the work itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl
from deltalake.transaction import AddAction

from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Table partitions of a mart as its SQL makes them.

    Attributes:
        frame: held to the mart's contract, in the order of the key.
        read: of how many rows of the inputs.
        files: by table partition, files below the mart's table that hold its rows already, and that no commit has added yet;
            `None` where the rows are still to be written.
    """

    frame: pl.DataFrame
    read: int
    files: dict[Key, list[AddAction]] | None = None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be published, in portions of one commit each, and the way to their rows, which may be gone more than once.

    Attributes:
        told: of the work, for people.
    """

    portions: Sequence[Sequence[Key]]
    rows: Callable[[Sequence[Key]], Rows]
    told: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """Computes a mart; what it costs goes by its name."""

    @property
    def name(self) -> str: ...

    def compute(self, inputs: Inputs, gold: Table, keys: Sequence[Key]) -> Work:
        """Compute table partitions from exactly the versions of the inputs; nothing becomes visible by it.

        Raises:
            ContractError: the SQL fails, or yields other columns than the contract says.
        """
        ...
