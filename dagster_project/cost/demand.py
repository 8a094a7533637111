"""How much each dataset and mart has to be worked on, and when: measured in `ops/costs` and the tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.cost.deployments import BUSY
from dagster_project.cost.report import recorded
from dagster_project.cost.router import Cadence, Engine, Size
from dagster_project.cost.throughput import Throughput
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.inputs import Inputs
from dagster_project.refine.plan import pending_files, progress
from dagster_project.refine.reach import WHOLE
from dagster_project.refine.staleness import pending_gold

# A week has its quiet days and its busy ones, and one of them moves an average of seven by little.
DAYS = 7
# A cluster that would stop for less is not worth starting again: it takes ten minutes to come.
_PAUSE = dt.timedelta(minutes=10)
# The smallest job on Spark: two DPUs of Glue, or a node of EMR beside the primary one.
_LEAST_CORES = 8
# A job of Glue is billed for a minute at least.
_LEAST_H = 1 / 60
# Of the hours with events, the one that all but the busiest twentieth stay below: a first load is no peak.
_PEAK = 0.95
_HOUR_S = 3600
Kind = Literal["dataset", "mart"]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What was measured of an asset.

    Attributes:
        name: of the dataset's tables, or of the mart.
        events: rows a day that it looked at.
        backlog: rows that wait to be looked at.
        core_us: CPU microseconds of an event in-process.
        measured: in how many runs; with none the benchmark's figure stands in.
        before: the engine that did the work last.
    """

    name: str
    kind: Kind
    events: float
    backlog: float
    core_us: float
    measured: int
    size: Size
    cadence: Cadence
    before: Engine | None

    @property
    def asset(self) -> str:
        """Its name in `ops/costs`."""
        return _asset(self.kind, self.name)


@dataclass(frozen=True, kw_only=True)
class _Period:
    """Rows of `ops/costs` of so many days."""

    rows: pl.DataFrame
    days: float

    def of(self, *assets: str) -> pl.DataFrame:
        return self.rows.filter(pl.col("asset").is_in(assets))


def demands(
    catalog: Catalog, *, storage: Storage, benchmark: Throughput | None, now: dt.datetime, lag: Mapping[str, int]
) -> tuple[tuple[Demand, ...], float]:
    """What all datasets and marts take, and how many cores all other work takes in the mean.

    Args:
        benchmark: what a core does where nothing was measured, and how many times as much Spark takes.
        lag: by dataset, messages that Bronze has not read; what is not there counts as none.

    Raises:
        LakeError: the store cannot be read.
    """
    rows = recorded(storage=storage, since=now - dt.timedelta(days=DAYS), until=now)
    # A lake of an hour's age is not projected: what it did is what a day has.
    first = now if rows.is_empty() else rows["at"].min()
    assert isinstance(first, dt.datetime)
    period = _Period(rows=rows, days=max(1.0, (now - first) / dt.timedelta(days=1)))
    found = [
        *(
            _dataset(dataset, period, storage=storage, benchmark=benchmark, lag=lag.get(dataset.name, 0))
            for dataset in catalog.every_version()
        ),
        *(_mart(mart, catalog, period, storage=storage, benchmark=benchmark) for mart in catalog.marts),
    ]
    own = period.of(*(one.asset for one in found))
    others = (_cpu(_in_process(rows)) - _cpu(_in_process(own))) / period.days
    return tuple(found), others / (24 * _HOUR_S)


def _dataset(dataset: Dataset, period: _Period, *, storage: Storage, benchmark: Throughput | None, lag: int) -> Demand:
    # A merge holds a portion of so many rows and no more, however large the table is: no largest part.
    return _demand(
        dataset.table,
        "dataset",
        period,
        arrivals=(f"bronze/{dataset.name}",),
        within=dataset.slo.freshness,
        backlog=lag + _unread(dataset, storage),
        benchmark=benchmark,
    )


def _mart(mart: Mart, catalog: Catalog, period: _Period, *, storage: Storage, benchmark: Throughput | None) -> Demand:
    inputs = Inputs.find(mart, catalog=catalog, storage=storage)
    rows = inputs.sizes() if mart.partitioned_by else {WHOLE: inputs.rows}
    tables = {**inputs.tables, f"gold/{mart.name}": Table.find(specs.gold(mart), storage=storage)}
    waiting = pending_gold(mart, tables, catalog=catalog)
    found = _demand(
        mart.name,
        "mart",
        period,
        arrivals=tuple(f"bronze/{name}" for name in sorted(catalog.origins(mart))),
        within=mart.freshness,
        backlog=float(sum(rows.get(key, 0) for key in waiting)),
        benchmark=benchmark,
    )
    stored = sum(int(table.files()["size_bytes"].sum()) for table in inputs.found())
    largest = max(rows.values(), default=0) * stored / inputs.rows if inputs.rows else 0.0
    return replace(found, size=replace(found.size, largest_bytes=largest))


def _demand(
    name: str,
    kind: Kind,
    period: _Period,
    *,
    arrivals: Sequence[str],
    within: dt.timedelta,
    backlog: float,
    benchmark: Throughput | None,
) -> Demand:
    own = period.of(_asset(kind, name))
    here = _in_process(own)
    events, core_us = _events(own) / period.days, _core_us(here, benchmark)
    # What ran elsewhere is reckoned as what it would take here.
    elsewhere = _events(own) - _events(here)
    core_seconds = (_cpu(here) + elsewhere * core_us / 1e6) / period.days + backlog * core_us / 1e6
    size = Size(core_seconds=core_seconds, spark_times=None if benchmark is None else benchmark.spark_times)
    arrived = period.of(*arrivals)
    return Demand(
        name=name,
        kind=kind,
        events=events,
        backlog=backlog,
        core_us=core_us,
        measured=len(here),
        size=size,
        cadence=_cadence(own if arrived.is_empty() else arrived, size, within=within, days=period.days),
        before=_engine(own),
    )


def _asset(kind: Kind, name: str) -> str:
    return f"{'silver' if kind == 'dataset' else 'gold'}/{name}"


def _cadence(rows: pl.DataFrame, size: Size, *, within: dt.timedelta, days: float) -> Cadence:
    """When events arrive, and what that means for a job on Spark: the smallest that is done in time."""
    spans = list(_bursts(rows))
    arriving = sum(spans, dt.timedelta()) / dt.timedelta(hours=1) / days
    bursts, patience = len(spans) / days, within / dt.timedelta(hours=1)
    window = min(24.0, arriving + bursts * patience) or 24.0
    work = size.core_seconds * (size.spark_times or 1.0) / _HOUR_S / BUSY / _LEAST_CORES
    # A job that is always at work starts once; one that is not comes as often as freshness asks for it.
    starts = bursts if work >= window else max(bursts, arriving / patience if patience else 0.0)
    return Cadence(window=window, hours=min(window, max(work, starts * _LEAST_H)), starts=starts, peak=_peak(rows))


def _bursts(rows: pl.DataFrame) -> Iterator[dt.timedelta]:
    """How long was worked without a pause to speak of, time after time."""
    begin = pl.col("at") - pl.duration(microseconds=(pl.col("wall_seconds") * 1e6).cast(pl.Int64))
    first = last = None
    for began, ended in rows.select(begin.alias("began"), "at").sort("began").iter_rows():
        if first is not None and last is not None and began <= last + _PAUSE:
            last = max(last, ended)
            continue
        if first is not None and last is not None:
            yield last - first
        first, last = began, ended
    if first is not None and last is not None:
        yield last - first


def _peak(rows: pl.DataFrame) -> float:
    hourly = rows.group_by(pl.col("at").dt.truncate("1h")).agg(pl.sum("events"))["events"]
    busy = hourly.filter(hourly > 0)
    if busy.is_empty():
        return 1.0
    high, mean = busy.quantile(_PEAK, interpolation="lower"), busy.mean()
    assert isinstance(high, float)
    assert isinstance(mean, float)
    return max(1.0, high / mean)


def _unread(dataset: Dataset, storage: Storage) -> int:
    """Rows of Bronze in files that Silver has not read to their end."""
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    if bronze is None:
        return 0
    files = pending_files(dataset, bronze, progress(Table.find(specs.silver(dataset), storage=storage)))
    return int(files["num_records"].sum())


def _core_us(rows: pl.DataFrame, benchmark: Throughput | None) -> float:
    if events := _events(rows):
        return _cpu(rows) / events * 1e6
    return 0.0 if benchmark is None else 1e6 / benchmark.events_per_core_s


def _engine(rows: pl.DataFrame) -> Engine | None:
    """That of the newest run."""
    if rows.is_empty():
        return None
    match rows.sort("at")["engine"][-1]:
        case "glue":
            return "glue"
        case "emr" | "spark":  # a cluster of one's own stands, as one of EMR does
            return "emr"
        case _:
            return "local"


def _in_process(rows: pl.DataFrame) -> pl.DataFrame:
    """Runs of the time before there were engines say nothing, and were in-process."""
    return rows.filter(pl.col("engine").fill_null("local") == "local")


def _events(rows: pl.DataFrame) -> int:
    return int(rows["events"].sum())


def _cpu(rows: pl.DataFrame) -> float:
    return float(rows["cpu_seconds"].sum())
