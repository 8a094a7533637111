"""A log as it is being read: runs of offsets of each kind, put together as they come."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from dagster_project.topics.batches import Kind
from dagster_project.topics.offsets import Offsets

_KINDS: tuple[Kind, ...] = ("data", "control", "aborted", "compacted")


@dataclass(kw_only=True)
class LogRuns:
    """Runs of each kind, as they come: Kafka partition, first and last offset."""

    found: dict[Kind, list[tuple[int, int, int]]] = field(default_factory=lambda: {kind: [] for kind in _KINDS})

    def add(self, partition: int, first: int, last: int, kind: Kind) -> None:
        so_far = self.found[kind]
        if so_far and so_far[-1][0] == partition and so_far[-1][2] + 1 == first:
            so_far[-1] = (partition, so_far[-1][1], last)
        else:
            so_far.append((partition, first, last))

    def offsets(self) -> dict[Kind, Offsets]:
        schema = {"_kafka_partition": pl.Int32, "first_offset": pl.Int64, "last_offset": pl.Int64}
        return {kind: Offsets.of_runs(pl.DataFrame(rows, schema, orient="row")) for kind, rows in self.found.items()}
