"""What waits: for a run, for the gate, for a mart's rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.lake.serving import written
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.metrics.family import Family, Sample
from dagster_project.refine.audit import held, severities
from dagster_project.refine.holds import holds
from dagster_project.refine.inputs import spec_of, versions
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.staleness import pending_gold

PENDING = Family(
    name="lakehouse_pending_partitions",
    help="Table partitions that are older than their input, with those that are held back; consistency is a mart's, cp "
    "or ap",
    unit="table partitions",
    labels=("layer", "table", "consistency"),
)
BREAKER = Family(
    name="lakehouse_breaker_open",
    help="1 while a region is held back because too many of its rows are bad, else 0",
    unit="1",
    labels=("table", "region"),
)
HELD = Family(
    name="lakehouse_held_partitions",
    help="Table partitions that stay as they were because they would break a rule",
    unit="table partitions",
    labels=("layer", "table"),
)
FAMILIES = (PENDING, BREAKER, HELD)


def samples(catalog: Catalog, tables: Mapping[str, Table], *, storage: Storage) -> Iterator[Sample]:
    """Of every table that there is; `tables` by `layer/name`."""
    for name in catalog.names():
        for version in written(catalog, name, storage=storage):
            yield from _silver(version, tables)
    for mart in catalog.marts:
        if (gold := tables.get(f"gold/{mart.name}")) is None:
            continue
        serve = versions(mart, catalog, storage=storage)
        wanted = {item.table: spec_of(item.table, serve, catalog) for item in mart.inputs}
        inputs = {name: tables.get(f"{spec.layer}/{spec.name}") for name, spec in wanted.items()}
        pending = pending_gold(mart, {**inputs, f"gold/{mart.name}": gold}, catalog=catalog, with_held=True)
        yield PENDING.of(len(pending), "gold", mart.name, mart.consistency)
        yield HELD.of(len(_broken(mart, gold)), "gold", mart.name)


def _silver(dataset: Dataset, tables: Mapping[str, Table]) -> Iterator[Sample]:
    names = (f"bronze/{dataset.name}", f"silver/{dataset.table}")
    own = {name: tables.get(name) for name in names}
    yield PENDING.of(len(pending_silver(dataset, own, with_held=True)), "silver", dataset.table, "")
    if (silver := own[f"silver/{dataset.table}"]) is None:
        return
    scopes = holds(silver.cursors())
    for region in dataset.regions:
        is_open = any(scope.date is None and scope.region == region for scope in scopes)
        yield BREAKER.of(is_open, dataset.table, region)
    yield HELD.of(sum(scope.date is not None for scope in scopes), "silver", dataset.table)


def _broken(mart: Mart, gold: Table) -> set[object]:
    return {key for rule in severities(mart) for key in held(gold.cursors(), rule)}
