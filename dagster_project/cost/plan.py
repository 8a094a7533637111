"""Which deployment is the cheapest for a workload, why, and where another one would be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from dagster_project.cost.charge import per_million
from dagster_project.cost.deployments import (
    DAYS,
    HOURS,
    Compute,
    Stream,
    Workload,
    computes,
    lake_usd_per_day,
    streams,
)
from dagster_project.cost.prices import Prices
from dagster_project.cost.throughput import Throughput


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A machine or service that works, and a stream: dollars.

    Attributes:
        as_it_is: whether the platform runs there as it is.
        machine, stream_usd, store: a day of each.
    """

    compute: str
    stream: str
    vcpus: int
    stream_size: str
    as_it_is: bool
    machine: float
    stream_usd: float
    store: float
    usd_per_day: float
    usd_per_month: float
    usd_per_million: float | None


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """Of two ways to compute, the hours a day at which both cost the same, at the workload's rate.

    Attributes:
        hours: `None` where one is cheaper however long the day's work takes.
        usd_per_day: of either, at these hours.
        below, above: the cheaper one for less and for more hours; the same where there is no such point.
    """

    hours: float | None
    usd_per_day: float | None
    below: str
    above: str
    pair: tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What was compared, cheapest first.

    Attributes:
        recommended: the cheapest of those that run the platform as it is.
    """

    workload: Workload
    throughput: Throughput
    deployments: tuple[Deployment, ...]
    recommended: Deployment
    reasons: tuple[str, ...]
    break_evens: tuple[BreakEven, ...]


def plan(workload: Workload, throughput: Throughput, prices: Prices) -> Plan:
    """Compare all deployments."""
    ways = list(computes(workload, throughput, prices))
    store = lake_usd_per_day(workload, throughput, prices)
    found = sorted(
        (_deployment(way, stream, store, workload) for way in ways for stream in streams(workload, prices)),
        key=lambda one: one.usd_per_day,
    )
    recommended = next(one for one in found if one.as_it_is)
    points = tuple(break_evens(ways))
    return Plan(
        workload=workload,
        throughput=throughput,
        deployments=tuple(found),
        recommended=recommended,
        reasons=tuple(_reasons(workload, found, recommended, points)),
        break_evens=points,
    )


def _deployment(way: Compute, stream: Stream, store: float, workload: Workload) -> Deployment:
    machine = way.usd_per_day(workload.hours_per_day)
    usd = machine + stream.usd_per_day + store
    return Deployment(
        compute=way.name,
        stream=stream.name,
        vcpus=way.vcpus,
        stream_size=stream.size,
        as_it_is=way.engine == "platform" and stream.name == "MSK",
        machine=machine,
        stream_usd=stream.usd_per_day,
        store=store,
        usd_per_day=usd,
        usd_per_month=usd * DAYS,
        usd_per_million=per_million(usd, workload.events_per_day),
    )


def break_evens(ways: Sequence[Compute]) -> Iterator[BreakEven]:
    """Of each two ways with the same engine."""
    for first, second in combinations(ways, 2):
        if first.engine == second.engine:
            yield break_even(first, second)


def break_even(first: Compute, second: Compute) -> BreakEven:
    """Where two lines cross, if they do within a day."""
    pair = (first.name, second.name)
    # Who costs less for a moment's work, and who does around the clock.
    below = min(first, second, key=lambda way: (way.fixed, way.hourly))
    above = min(first, second, key=lambda way: (way.usd_per_day(HOURS), -way.fixed))
    if below is above:
        return BreakEven(hours=None, usd_per_day=None, below=below.name, above=below.name, pair=pair)
    hours = (second.fixed - first.fixed) / (first.hourly - second.hourly)
    return BreakEven(hours=hours, usd_per_day=first.usd_per_day(hours), below=below.name, above=above.name, pair=pair)


def _reasons(
    workload: Workload, found: Sequence[Deployment], recommended: Deployment, points: Sequence[BreakEven]
) -> Iterator[str]:
    yield (
        f"{recommended.compute} with {recommended.stream} is the cheapest of those that run this platform as it is: "
        f"{recommended.usd_per_month:,.0f} USD a month"
    )
    parts = {"machine": recommended.machine, "stream": recommended.stream_usd, "store": recommended.store}
    largest = max(parts, key=lambda name: parts[name])
    yield f"most of it is the {largest}: {parts[largest] / recommended.usd_per_day:.0%}"
    if (cheapest := found[0]) is not recommended:
        yield (
            f"{cheapest.compute} with {cheapest.stream} would be {recommended.usd_per_day / cheapest.usd_per_day:.1f} times "
            f"cheaper, but {_obstacle(cheapest)}"
        )
    for point in points:
        if point.hours is not None and recommended.compute in point.pair:
            other = point.above if point.below == recommended.compute else point.below
            more = "more" if other == point.above else "less"
            yield f"{other} would be cheaper for {more} than {point.hours:.1f} h a day; here it is {workload.hours_per_day:g} h"


def _obstacle(deployment: Deployment) -> str:
    if deployment.stream == "Kinesis":
        return "the platform reads Kafka, not Kinesis"
    return "the marts would have to run on Spark"
