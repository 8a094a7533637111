"""Freshness and availability: what a reader of Silver and Gold finds at a moment, region by region."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl
from polars.exceptions import PolarsError

from dagster_project.contract.model import REGION_COLUMN, Catalog, Dataset
from dagster_project.errors import LakehouseError
from dagster_project.lake import specs
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.measurement import Measurement, at_most


def newest_events(dataset: Dataset, silver: Table) -> dict[str, dt.datetime]:
    """By region, the newest event time in Silver, from the log alone."""
    newest = (
        silver.files()
        .filter(pl.col(REGION_COLUMN).is_not_null())
        .group_by(REGION_COLUMN)
        .agg(pl.max(f"max.{dataset.event_time}"))
    )
    return dict(newest.iter_rows())


def measure_reading(
    dataset: Dataset, *, since: dt.datetime, catalog: Catalog, storage: Storage, now: dt.datetime
) -> Iterator[Measurement]:
    """Freshness and availability of each region; of one without an event only once it has had its freshness to come.

    A region is available if the newest versions of Silver and of every mart that comes from the dataset can be read, and the
    region's newest event is no older than its freshness: who reads yesterday's figures has no answer for today.

    Args:
        since: when the dataset began.
    """
    slo = dataset.slo
    try:
        version = serving(catalog, dataset.name, storage=storage)
        silver = Table.find(specs.silver(version), storage=storage)
        marts = [Table.find(specs.gold(mart), storage=storage) for mart in catalog.marts_of(dataset.name)]
        newest = {} if silver is None else newest_events(version, silver)
        readable = silver is not None and all(_readable(table) for table in (silver, *marts) if table is not None)
        overdue = now - since > slo.freshness
        judged = tuple(region for region in dataset.regions if overdue or region in newest)
    except LakehouseError:  # nobody can say which regions have events, nor that one of them is fresh
        newest, readable, judged = {}, False, dataset.regions
    for region in judged:
        age = (now - newest[region]).total_seconds() if region in newest else None
        fresh = at_most(dataset, "freshness", age, slo.freshness.total_seconds(), region=region)
        yield fresh
        there = int(readable and fresh.good == 1)
        yield Measurement(
            dataset=dataset.name,
            region=region,
            objective="availability",
            value=float(there),
            bound=slo.availability,
            good=there,
            bad=1 - there,
        )


def _readable(table: Table) -> bool:
    """Whether a file of the newest version can be opened, the last of its list; an empty table can."""
    try:
        table.rows(table.files().tail(1)).select(pl.len()).collect(engine="in-memory")
    except (OSError, PolarsError, LakehouseError):
        return False
    return True
