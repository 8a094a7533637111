"""Offsets as frames: where they stand in tables, how they are bounded, and how damaged ones are named."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dagster_project.lake.specs import COORDINATES
from dagster_project.lake.table import Table

# What names an offset.
PLACE = ("_kafka_partition", "_kafka_offset")
PLACE_SCHEMA = {name: COORDINATES[name] for name in PLACE}
# Places that a problem names: enough to find the damage, few enough to read.
_NAMED = 5


def by_partition(**bounds: Mapping[int, int]) -> pl.DataFrame:
    """Offsets by Kafka partition, one column each beside `_kafka_partition`, for joins."""
    partitions = list(next(iter(bounds.values())))
    columns = {name: [offsets[partition] for partition in partitions] for name, offsets in bounds.items()}
    schema = {
        "_kafka_partition": COORDINATES["_kafka_partition"],
        **dict.fromkeys(bounds, COORDINATES["_kafka_offset"]),
    }
    return pl.DataFrame({"_kafka_partition": partitions, **columns}, schema=schema)


def places(table: Table | None, *more: str) -> pl.DataFrame:
    """The distinct offsets that a table has rows of, with further columns of truth values."""
    if table is None:
        return pl.DataFrame(schema={**PLACE_SCHEMA, **dict.fromkeys(more, pl.Boolean())})
    return table.rows().select(*PLACE, *more).unique(PLACE).collect(engine="in-memory")


def damage(rows: pl.DataFrame, what: str) -> list[str]:
    """One line that counts and names offsets, or none where there are none."""
    if rows.is_empty():
        return []
    first = rows.select(PLACE).sort(PLACE).head(_NAMED).iter_rows()
    named = ", ".join(f"{partition}/{offset}" for partition, offset in first)
    return [f"{len(rows)} offsets are {what}: {named}{', …' if len(rows) > _NAMED else ''}"]
