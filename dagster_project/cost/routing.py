"""The engine of each dataset and mart of a catalog, side by side on one machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil

from dagster_project.cost.demand import Demand
from dagster_project.cost.prices import Prices
from dagster_project.cost.router import Machine, Route, Wanted, route

_DAY_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Routed:
    """What was measured of a dataset or mart, and where it is to be worked on."""

    demand: Demand
    route: Route


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An engine that somebody asks for, and who that is."""

    engine: Wanted
    by: str


def this_machine() -> Machine:
    """The cores that this process may use, and the memory."""
    return Machine(cores=len(os.sched_getaffinity(0)), memory_bytes=psutil.virtual_memory().total)


def routed(
    demands: Sequence[Demand], prices: Prices, *, machine: Machine, asked: Mapping[str, Asked]
) -> Iterator[Routed]:
    """Choose for all, the smallest first: what the machine has no room for beside those is what goes to Spark.

    Args:
        machine: with the cores that all other work takes.
        asked: by name, for whom somebody asks for an engine.
    """
    for demand in sorted(demands, key=lambda one: (one.size.core_seconds, one.name)):
        own = asked.get(demand.name)
        found = route(
            demand.size,
            demand.cadence,
            prices,
            None if own is None else own.engine,
            machine=machine,
            before=demand.before,
            by="nobody" if own is None else own.by,
        )
        yield Routed(demand=demand, route=found)
        if found.engine == "local":
            machine = replace(machine, busy=machine.busy + demand.size.core_seconds / _DAY_S)
