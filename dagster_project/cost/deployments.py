"""Where the platform could run, and what a day of it costs there: pure functions of the workload and the price book."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from dagster_project.cost.charge import GB
from dagster_project.cost.prices import Prices
from dagster_project.cost.throughput import Throughput

HOURS = 24
DAYS = 365 / 12
_HOUR_S = 3600
# Of what is paid for, so much is planned to be busy; the rest is for late rows, maintenance and tries that failed.
BUSY = 0.7
# Dagster's daemon, its code and its page: a core of their own, and two gigabytes where memory is paid by itself.
_DAGSTER_VCPUS, _DAGSTER_GB = 1, 2
# As machines for general use have it; the benchmark's peak would fit into half of that.
_GB_PER_VCPU = 4
# How long the stream keeps events, so that a week's failure loses none.
_STREAM_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be done each day.

    Attributes:
        bytes_per_event: of a message, key and headers included.
        hours_per_day: in which events arrive and are worked on.
        peak_factor: the busiest time of these hours ÷ their mean.
        retention_days: how long the lake keeps events.
    """

    events_per_day: float
    bytes_per_event: float
    hours_per_day: float = 24.0
    peak_factor: float = 3.0
    retention_days: float = 30.0

    @property
    def events_per_s(self) -> float:
        """The mean of the hours in which events arrive."""
        return self.events_per_day / (self.hours_per_day * _HOUR_S)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """Where the work is done, at the workload's rate for however many hours a day.

    Attributes:
        engine: what runs there; the platform itself, or a Spark job in its stead.
        vcpus: at the peak.
        fixed: dollars a day, however many hours are worked.
        hourly: dollars for each of these hours.
    """

    name: str
    engine: str
    vcpus: int
    fixed: float
    hourly: float

    def usd_per_day(self, hours: float) -> float:
        return self.fixed + self.hourly * hours


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What holds events until they are read: dollars a day."""

    name: str
    size: str
    usd_per_day: float


def computes(workload: Workload, throughput: Throughput, prices: Prices) -> Iterator[Compute]:
    """All that are large enough. Of the same rate each costs as much an hour, so that hours can be compared."""
    yield from _own(workload, throughput, prices)
    if throughput.spark_events_per_core_s is not None:
        yield from _spark(workload, throughput.spark_events_per_core_s, prices)


def _own(workload: Workload, throughput: Throughput, prices: Prices) -> Iterator[Compute]:
    mean = workload.events_per_s / throughput.events_per_core_s / BUSY
    peak = mean * workload.peak_factor
    wanted = peak + _DAGSTER_VCPUS
    size = next((size for size in prices.vm.vcpus if size >= wanted), None)
    if size is not None:
        hourly = size * prices.vm.vcpu_hour
        reserved = hourly * prices.vm.reserved_share * HOURS
        yield Compute(name="one VM", engine="platform", vcpus=size, fixed=0.0, hourly=hourly)
        yield Compute(name="one VM, reserved", engine="platform", vcpus=size, fixed=reserved, hourly=0.0)
    # A task for each run: what is paid for follows the load, so it is the mean and not the peak.
    task = prices.fargate.vcpu_hour + _GB_PER_VCPU * prices.fargate.gb_hour
    yield Compute(
        name="ECS on Fargate",
        engine="platform",
        vcpus=ceil(wanted),
        fixed=0.0,
        hourly=ceil(mean) * task + _dagster(prices),
    )


def _spark(workload: Workload, events_per_core_s: float, prices: Prices) -> Iterator[Compute]:
    mean = workload.events_per_s / events_per_core_s / BUSY
    peak = mean * workload.peak_factor
    beside = _dagster(prices)
    yield glue(mean, peak, prices, beside=beside)
    yield from emr(mean, peak, prices, beside=beside)


def glue(mean: float, peak: float, prices: Prices, *, starts: float = 1.0, beside: float = 0.0) -> Compute:
    """Glue adds and drops workers with the load, so the mean is paid for.

    Args:
        mean, peak: vCPUs that are wanted, those that wait for work included.
        starts: of a job, a day.
        beside: dollars for each hour that something else works meanwhile.
    """
    book = prices.glue
    dpus = max(book.least_dpus, ceil(mean / book.dpu_vcpus))
    most = max(dpus, ceil(peak / book.dpu_vcpus)) * book.dpu_vcpus
    hourly = dpus * book.dpu_hour
    start = hourly * book.start_minutes / 60 * starts
    return Compute(name="Glue", engine="Spark", vcpus=most, fixed=start, hourly=hourly + beside)


def emr(mean: float, peak: float, prices: Prices, *, starts: float = 1.0, beside: float = 0.0) -> Iterator[Compute]:
    """A cluster that is made anew each time is as large as the mean, one that stands as large as the peak; as of `glue`."""
    book = prices.emr
    node = book.node_hour + book.service_hour
    nodes = ceil(peak / book.node_vcpus) + book.primary_nodes
    vcpus = nodes * book.node_vcpus
    scaled = (ceil(mean / book.node_vcpus) + book.primary_nodes) * node
    start = scaled * book.start_minutes / 60 * starts
    yield Compute(name="EMR, made for each burst", engine="Spark", vcpus=vcpus, fixed=start, hourly=scaled + beside)
    reserved = book.node_hour * prices.vm.reserved_share + book.service_hour
    for name, usd in (("EMR, standing", node), ("EMR, standing and reserved", reserved)):
        yield Compute(name=name, engine="Spark", vcpus=vcpus, fixed=nodes * usd * HOURS, hourly=beside)


def _dagster(prices: Prices) -> float:
    """An hour of what launches the runs, where these run somewhere else."""
    return _DAGSTER_VCPUS * prices.fargate.vcpu_hour + _DAGSTER_GB * prices.fargate.gb_hour


def streams(workload: Workload, prices: Prices) -> Iterator[Stream]:
    """MSK and Kinesis, large enough for the peak; both stand day and night."""
    msk, kinesis = prices.msk, prices.kinesis
    peak = workload.events_per_s * workload.peak_factor
    mb_s = peak * workload.bytes_per_event / 1e6
    brokers = msk.brokers * max(1, ceil(mb_s / msk.broker_mb_s / msk.brokers))
    kept = workload.events_per_day * workload.bytes_per_event * _STREAM_DAYS * msk.copies / GB
    yield Stream(
        name="MSK",
        size=f"{brokers:,} brokers",
        usd_per_day=brokers * msk.broker_hour * HOURS + kept * msk.gb_month / DAYS,
    )
    shards = max(1, ceil(mb_s / kinesis.shard_mb_s), ceil(peak / kinesis.shard_records_s))
    units = workload.events_per_day * max(1, ceil(workload.bytes_per_event / (kinesis.unit_kb * 1000)))
    yield Stream(
        name="Kinesis",
        size=f"{shards:,} shards",
        usd_per_day=shards * (kinesis.shard_hour + kinesis.long_shard_hour) * HOURS
        + units / 1e6 * kinesis.million_units,
    )


def lake_usd_per_day(workload: Workload, throughput: Throughput, prices: Prices) -> float:
    """The store: what has gathered over the retention, and the requests of a day."""
    store = prices.store
    kept = workload.events_per_day * workload.retention_days * throughput.stored_bytes / GB
    requests = throughput.puts * store.thousand_puts + throughput.gets * store.thousand_gets
    return kept * store.gb_month / DAYS + workload.events_per_day * requests / 1000
