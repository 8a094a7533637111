"""Service levels as they stand, and how latency has been in the last hour."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, Catalog
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.status import Objective, status

# What the chart of latency shows.
_SPAN = dt.timedelta(hours=1)
_PERCENTILES = ("latency_p50", "latency_p95", "latency_p99")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One percentile, in seconds; `None` where nothing arrived."""

    label: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """From Kafka to where it can be read, of the dataset that is the slowest now.

    Attributes:
        at: of each measurement, in seconds since the epoch.
    """

    dataset: str
    at: tuple[int, ...]
    series: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class Levels:
    """All objectives that were ever measured, and the course of latency; `None` where there is none yet."""

    objectives: tuple[Objective, ...]
    latency: Latency | None


def read_levels(catalog: Catalog, *, storage: Storage, now: dt.datetime) -> Levels:
    """How service levels stand at a moment.

    Raises:
        LakeError: the measurements cannot be read.
    """
    table = Table.find(specs.measurements(), storage=storage)
    if table is None:
        return Levels(objectives=(), latency=None)
    objectives = status(catalog, storage=storage, now=now)
    files = table.files().filter(pl.col(DATE_COLUMN) >= (now - _SPAN).date(), pl.col("max.at") > now - _SPAN)
    rows = table.rows(files).filter(pl.col("objective").is_in(_PERCENTILES), pl.col("at") > now - _SPAN)
    found = rows.select("at", "dataset", "objective", "value").collect(engine="in-memory")
    return Levels(objectives=objectives, latency=latency(found, slowest(objectives)))


def slowest(objectives: Sequence[Objective]) -> str | None:
    """The dataset whose 95th percentile is the highest now; `None` while none was measured."""
    found = [(item.value, item.dataset) for item in objectives if item.name == "latency_p95" and item.value is not None]
    return max(found)[1] if found else None


def latency(rows: pl.DataFrame, dataset: str | None) -> Latency | None:
    """The course of one dataset's percentiles.

    Args:
        rows: `at, dataset, objective, value` of latencies.
    """
    if dataset is None:
        return None
    own = rows.filter(pl.col("dataset") == dataset).sort("at")
    if own.is_empty():
        return None
    moments = own["at"].unique(maintain_order=True)
    lines: list[Line] = []
    for name in _PERCENTILES:
        values = dict(own.filter(pl.col("objective") == name).select("at", "value").iter_rows())
        lines.append(Line(label=name.removeprefix("latency_"), values=tuple(values.get(moment) for moment in moments)))
    return Latency(dataset=dataset, at=tuple(int(moment.timestamp()) for moment in moments), series=tuple(lines))
