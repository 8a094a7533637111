"""Sets of offsets that share none and together are all of them, counted by Kafka partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from dagster_project.accounting.fates import Fates
from dagster_project.accounting.gaps import Gaps
from dagster_project.topics.offsets import Offsets


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Where the offsets of one Kafka partition are, from `start` to before `next`; the counts add up to all of them."""

    partition: int
    start: int
    next: int
    silver_rows: int
    superseded: int
    quarantined: int
    tombstones: int
    control: int
    aborted: int
    compacted: int
    unproven_gaps: int
    lost: int
    forgotten: int
    pending: int
    held: int
    unaccounted: int


# Where an offset may be, in the order in which people are told.
PLACES = tuple(field.name for field in fields(Tiling) if field.name not in {"partition", "start", "next"})


def tiles(found: Fates, holes: Gaps, *, window: Offsets, forgotten: Offsets) -> dict[str, Offsets]:
    """The offsets of a window by place, named as in `Tiling`."""
    return {
        "silver_rows": found.silver & window,
        "superseded": found.superseded & window,
        "quarantined": found.quarantined & window,
        "tombstones": found.tombstones & window,
        "control": holes.control,
        "aborted": holes.aborted,
        "compacted": holes.compacted,
        "unproven_gaps": holes.unproven,
        "lost": holes.lost,
        "forgotten": forgotten & window,
        "pending": found.pending & window,
        "held": found.held & window,
        "unaccounted": Offsets.union(found.lost & window, found.doubled & window, holes.missing, holes.unexplained),
    }


def by_partition(
    places: Mapping[str, Offsets], *, start: Mapping[int, int], end: Mapping[int, int]
) -> tuple[Tiling, ...]:
    counts = {name: offsets.by_partition() for name, offsets in places.items()}
    return tuple(
        Tiling(
            partition=partition,
            start=start[partition],
            next=end[partition],
            **{name: of.get(partition, 0) for name, of in counts.items()},
        )
        for partition in sorted(end)
    )
