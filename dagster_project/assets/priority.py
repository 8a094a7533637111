"""How important a run is, as tags: Dagster's queue takes the higher ones first, and the UI shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import dagster as dg

from dagster_project.contract.model import Dataset, Priority

_IN_QUEUE: Mapping[Priority, int] = {"low": -10, "normal": 0, "high": 10}
# How long a run may go on, where it has its turn while others are to make room.
TURN_TAG = "lakehouse/turn_seconds"
TURN_SECONDS = 60.0


def priority_tags(datasets: Iterable[Dataset]) -> dict[str, str]:
    """Tags of a run for some datasets, of which the most important one counts."""
    place = max((_IN_QUEUE[dataset.priority] for dataset in datasets), default=_IN_QUEUE["normal"])
    name = next(priority for priority, own in _IN_QUEUE.items() if own == place)
    return {"lakehouse/priority": name, "dagster/priority": str(place)}


def turn_tags() -> dict[str, str]:
    """Tags of a run that has its turn while others are to make room."""
    return {TURN_TAG: f"{TURN_SECONDS:.0f}"}


def seconds_of(run: dg.DagsterRun, otherwise: float) -> float:
    """How long a run may go on for."""
    return float(run.tags.get(TURN_TAG, otherwise))
