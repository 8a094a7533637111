"""What a rate of events needs, and where it breaks first: pure functions of the figures and the price book."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil

from benchmarks.scale.day import DAY_S, Day, carries, day
from benchmarks.scale.figures import Figures
from benchmarks.scale.race import Race, race
from dagster_project.cost.deployments import BUSY, Workload
from dagster_project.cost.plan import Deployment, plan
from dagster_project.cost.prices import Prices
from dagster_project.cost.router import Cadence, Machine, Route, Size, route
from dagster_project.cost.throughput import Throughput

RATES = (10_000, 100_000, 1_000_000, 10_000_000)
# Kafka's copies of an event, and days that the lake keeps one.
_COPIES, _KEPT_DAYS = 3, 30
_TB, _GIB = 1e12, 2**30
_FEWEST_PARTITIONS = 8
# A round takes whole portions of rows, so what a dataset carries is met only about: a hundredth more of them, until it is.
_MORE = 1.01


@dataclass(frozen=True, kw_only=True)
class Need:
    """What a rate needs.

    Attributes:
        datasets: that the stream is spread over, each of which carries its part through a day in-process.
        shards: runs of Bronze at once, of all datasets.
        runs: at once, with those of Silver and the marts.
        one: a day of one of the datasets.
        race: of the shards of one dataset for the versions of its Bronze table.
        cores: with a reserve; memory_gib: of all runs.
        puts, gets: a second, of the busiest prefix: of one region of one date of a dataset's tables.
        told: events of Dagster a day, and the hours that it takes to write them.
        route: where the router would have Silver of all of it, on the largest machine of the price book.
        platform, spark: the cheapest deployments.
    """

    rate: int
    mb_s: float
    partitions: int
    brokers: int
    replicas: int
    datasets: int
    shards: int
    runs: int
    one: Day
    race: Race
    cores: float
    memory_gib: float
    stored_tb: float
    kept_tb: float
    puts: float
    gets: float
    told: float
    told_h: float
    route: Route
    platform: Deployment
    spark: Deployment


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The rate at which something is used up.

    Attributes:
        what: it is; of one dataset, of an instance, of a cluster.
        rate: events a second.
        change: what to do then.
    """

    what: str
    rate: float
    change: str


def shard_rate(figures: Figures) -> float:
    """Events a second that one run of Bronze reads, with a reserve: as many cores as a drain keeps busy."""
    return figures.parallel.value / figures.bronze_us.value * 1e6 * BUSY


def need(rate: int, figures: Figures, prices: Prices) -> Need:
    """All that a rate needs, held for a whole day."""
    mb_s = rate * figures.log_bytes.value / 1e6
    datasets = ceil(rate / carries(figures, seconds=figures.fresh_s.value))
    while (one := _share(rate / datasets, figures)).behind_s > figures.fresh_s.value:
        datasets = ceil(datasets * _MORE)
    each = rate / datasets
    per_dataset = _per_dataset(each, figures)
    shards = datasets * per_dataset
    runs = shards + datasets
    partitions = max(_FEWEST_PARTITIONS, shards, ceil(mb_s / figures.partition_mb.value))
    brokers = 3 * max(1, ceil(mb_s / figures.broker_mb.value / 3))
    told = datasets * (
        DAY_S / figures.run_s.value * figures.run_events.value * (per_dataset + 1)
        + DAY_S / figures.tell_s.value * figures.regions.value * (per_dataset + 2)
    )
    events = rate * DAY_S
    cpu_s = one.cpu_s * datasets
    found = plan(
        Workload(
            events_per_day=events,
            bytes_per_event=figures.log_bytes.value,
            peak_factor=1.0,
            retention_days=_KEPT_DAYS,
        ),
        Throughput(
            source="benchmarks/scale",
            events_per_core_s=events / cpu_s,
            # A job on Spark takes all that waits at once, and looks through a table partition once for it.
            spark_events_per_core_s=1e6
            / (figures.bronze_us.value + figures.silver_us.value + figures.gold_us.value * figures.live.value)
            / figures.spark_times.value,
            stored_bytes=figures.stored_bytes.value,
            puts=one.puts * datasets / events,
            gets=one.gets * datasets / events,
        ),
        prices,
    )
    deployments = [one for one in found.deployments if one.stream == "MSK"]
    largest = Machine(cores=max(prices.vm.vcpus), memory_bytes=max(prices.vm.vcpus) * 4 * _GIB)
    return Need(
        rate=rate,
        mb_s=mb_s,
        partitions=partitions,
        brokers=brokers,
        replicas=ceil(partitions * _COPIES / brokers),
        datasets=datasets,
        shards=shards,
        runs=runs,
        one=one,
        race=race(
            writers=per_dataset, every=figures.gather_s.value, put_s=figures.put_s.value, get_s=figures.get_s.value
        ),
        cores=cpu_s / DAY_S / BUSY,
        memory_gib=runs * figures.run_gib.value,
        stored_tb=events * figures.stored_bytes.value / _TB,
        kept_tb=events * figures.stored_bytes.value * _KEPT_DAYS / _TB,
        puts=one.puts / DAY_S / figures.regions.value,
        gets=one.gets / DAY_S / figures.regions.value,
        told=told,
        told_h=told * figures.event_ms.value / 1000 / 3600,
        route=route(
            Size(core_seconds=cpu_s, spark_times=figures.spark_times.value), Cadence(), prices, machine=largest
        ),
        platform=found.recommended,
        spark=min((one for one in deployments if one.compute.startswith("EMR")), key=lambda one: one.usd_per_day),
    )


def _share(rate: float, figures: Figures) -> Day:
    return day(rate, figures, shards=_per_dataset(rate, figures))


def _per_dataset(rate: float, figures: Figures) -> int:
    """Runs of Bronze that one dataset needs."""
    return ceil(rate / shard_rate(figures))


def limits(figures: Figures, prices: Prices) -> list[Limit]:
    """At which rate each limit is reached, the lowest first."""
    return sorted(_limits(figures, prices), key=lambda limit: limit.rate)


def _limits(figures: Figures, prices: Prices) -> Iterator[Limit]:
    fresh = figures.fresh_s.value
    yield Limit(
        what=f"one dataset: by midnight an event waits {fresh / 60:g} min for its mart",
        rate=carries(figures, seconds=fresh),
        change="spread the stream over datasets by a key",
    )
    yield Limit(
        what="one dataset: the same, where its mart is on another engine or reads another day",
        rate=carries(_without(figures, gold_us=0.0), seconds=fresh),
        change="as above",
    )
    own = shard_rate(figures)
    yield Limit(what="one dataset: one run of Bronze reads no more", rate=own, change="`shards:` in its contract")
    most = int(figures.runs_at_once.value)
    yield Limit(
        what=f"an instance: {most} runs of Bronze and no other",
        rate=own * most,
        change="`max_concurrent_runs`, on more machines; a second instance",
    )
    yield Limit(
        what=f"one machine of {max(prices.vm.vcpus)} vCPUs: Bronze alone",
        rate=max(prices.vm.vcpus) * BUSY / figures.bronze_us.value * 1e6,
        change="a run launcher that places runs on other machines: ECS, Kubernetes",
    )
    lone = race(writers=most, every=figures.gather_s.value, put_s=figures.put_s.value, get_s=figures.get_s.value)
    yield Limit(
        what=f"one Bronze table: {most} shards commit {lone.commits:.1f} times a second, with {lone.tries:.1f} tries each",
        rate=lone.commits * figures.batch_rows.value,
        change="larger batches; datasets instead of shards",
    )
    brokers = figures.cluster_brokers.value
    yield Limit(
        what=f"MSK: {brokers:g} brokers of the price book's size",
        rate=brokers * figures.broker_mb.value * 1e6 / figures.log_bytes.value,
        change="larger brokers: their price and rate belong into a price book of one's own",
    )


def _without(figures: Figures, **values: float) -> Figures:
    return replace(figures, **{name: replace(getattr(figures, name), value=value) for name, value in values.items()})
