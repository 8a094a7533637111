"""How old the newest event of each region is, in Silver, and which regions are silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagster_project.contract.model import Catalog
from dagster_project.lake.serving import serving
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.metrics.family import Family, Sample
from dagster_project.refine.watermarks import watermarks
from dagster_project.slo.reading import newest_events

AGE = Family(
    name="lakehouse_freshness_seconds",
    help="Age of the newest event of a region in Silver, by event time",
    unit="seconds",
    labels=("dataset", "region"),
)
SILENT = Family(
    name="lakehouse_region_silent",
    help="1 while a region is so far behind the others by event time that they go on without it, else 0",
    unit="1",
    labels=("dataset", "region"),
)
FAMILIES = (AGE, SILENT)


def samples(catalog: Catalog, tables: Mapping[str, Table], *, storage: Storage, now: float) -> Iterator[Sample]:
    """Of each region that has had events, in the version that readers get."""
    for name in catalog.names():
        dataset = serving(catalog, name, storage=storage)
        if (silver := tables.get(f"silver/{dataset.table}")) is None:
            continue
        for region, moment in newest_events(dataset, silver).items():
            yield AGE.of(now - moment.timestamp(), dataset.name, region)
        for region, mark in watermarks(dataset, silver).items():
            yield SILENT.of(mark.silent, dataset.name, region)
