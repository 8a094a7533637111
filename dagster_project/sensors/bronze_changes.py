"""Bronze changes → one Silver + Gold run for each date × region rectangle, derived from the tables' own cursors."""

import datetime as dt
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_project.assets.jobs import (
    aggregate_job_name,
    aggregated,
    by_rectangle,
    catch_up_job_name,
    home,
    refine_job_name,
)
from dagster_project.assets.partitions import range_tags
from dagster_project.assets.priority import turn_tags
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.errors import ConfigurationError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, rectangles
from dagster_project.lake.serving import written
from dagster_project.lake.table import Table
from dagster_project.refine.inputs import tables_of
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.recover import outdated
from dagster_project.refine.staleness import pending_gold
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.kafka_lag import INTERVAL_S, ingest_job_name
from dagster_project.sensors.launch import Runs
from dagster_project.slo.yielding import pressed, reason_to_yield, yields_to

# A range run tells Dagster of each asset and table partition twice, at its start and at its end, at some 20 ms an event:
# up to this many keys that is a few seconds, and the UI shows which partitions are in progress or have failed.
# A larger backlog is one catch-up run, which tells of each partition once, when it is done.
_KEYS_PER_RUN = 60
_BACKLOG = 120
# Runs of one job that are launched at a tick. They share a table, so they work one after the other, each with its own
# launch: a batch that is scattered over more rectangles is one catch-up run, and the last of them need not wait for all.
_RUNS_PER_TICK = 2


# Stands for the region of marts that have dates only.
_NO_REGION = ""


def bronze_changes_sensor(catalog: Catalog, *, jobs: Iterable[Any]) -> dg.SensorDefinition:
    """Requests for whatever is older than its input."""

    @dg.sensor(
        name="bronze_changes",
        description="Launches Silver and Gold runs for the date × region rectangles that are older than Bronze.",
        jobs=list(jobs),
        minimum_interval_seconds=INTERVAL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def bronze_changes(context: dg.SensorEvaluationContext, lake: LakeResource) -> dg.SensorResult | dg.SkipReason:
        storage = lake.storage()
        tables = lake.find(*map(specs.bronze, catalog.datasets), *map(specs.silver, catalog.every_version()))
        shown = tables_of(catalog.marts, catalog, storage=storage)
        stale = {mart.name: pending_gold(mart, shown, catalog=catalog) for mart in catalog.marts}
        versions = [item for name in catalog.names() for item in written(catalog, name, storage=storage)]
        runs = Runs(context.instance)
        live = {dataset.name for dataset in catalog.datasets if runs.running(ingest_job_name(dataset)) is not None}
        now = dt.datetime.now(dt.UTC)
        others = pressed(catalog, storage=storage, now=now)
        refining = list(_refining(catalog, versions, tables, stale, live))
        caught_up = {item.job_name for item in refining if item.master is None}
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        for work in [*refining, *_aggregating(catalog, shown, stale, live)]:
            if not work.requests or work.master in caught_up:
                continue
            if work.awaits:
                notes.append(f"{work.job_name} waits for {work.awaits}")
                continue
            if work.master is not None and (run := runs.running(work.master)) is not None:
                notes.append(f"{work.master} is doing it ({run.run_id[:8]})")
                continue
            if (wait := runs.reason_to_wait(work.job_name)) is not None:
                notes.append(wait)
                continue
            if (wait := reason_to_yield(work.datasets, others, work.table, now=now)) is not None:
                notes.append(f"{work.job_name} {wait}")
                continue
            turn = turn_tags() if yields_to(work.datasets, others) else {}
            requests.extend(
                request.with_replaced_attrs(tags={**request.tags, **turn}) for request in work.requests[:_RUNS_PER_TICK]
            )
        return (
            dg.SensorResult(run_requests=requests)
            if requests
            else dg.SkipReason("; ".join(notes) or "everything is current")
        )

    return bronze_changes


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Runs of one job that would bring a part of everything up to date.

    Attributes:
        datasets: what it is for.
        table: that it writes first.
        master: the job that does the same while it runs.
        awaits: a mart that is to be brought up to date first.
    """

    job_name: str
    requests: list[dg.RunRequest]
    datasets: Sequence[Dataset]
    table: Table | None
    master: str | None = None
    awaits: str = ""


def _refining(
    catalog: Catalog,
    versions: Iterable[Dataset],
    tables: Mapping[str, Table | None],
    stale: Mapping[str, list[Key]],
    live: Collection[str],
) -> Iterator[_Work]:
    """For each dataset, what brings its Silver up to date, and the marts that are computed with it.

    Args:
        versions: of datasets, that are written.
        stale: by mart, the table partitions that are older than their input.
        live: datasets whose Bronze is being filled; one run follows it, instead of one for each commit.
    """
    for dataset in versions:
        master = catch_up_job_name(dataset)
        keys = set(pending_silver(dataset, tables)).union(
            *(stale[mart.name] for mart in by_rectangle(catalog, dataset))
        )
        silver = tables[f"silver/{dataset.table}"]
        gained = _outdated(dataset, silver)
        refine = _range_runs(refine_job_name(dataset), keys, regions=dataset.regions)
        scattered = len(keys) > _BACKLOG or len(refine) > _RUNS_PER_TICK
        if gained or scattered or Key(None, None) in keys or (keys and dataset.name in live):
            yield _Work(job_name=master, requests=[dg.RunRequest(job_name=master)], datasets=[dataset], table=silver)
        else:
            yield _Work(
                job_name=refine_job_name(dataset), requests=refine, datasets=[dataset], table=silver, master=master
            )


def _aggregating(
    catalog: Catalog, tables: Mapping[str, Table | None], stale: Mapping[str, list[Key]], live: Collection[str]
) -> Iterator[_Work]:
    """What brings marts up to date that have a job of their own.

    A mart goes on without what it reads being up to date while events arrive, as that may never be the case then.
    """
    for mart in aggregated(catalog):
        job_name, keys = aggregate_job_name(mart), stale[mart.name]
        dated = {Key(key.date, key.region or _NO_REGION) for key in keys if key.date is not None}
        ranges = _range_runs(job_name, dated, regions=mart.regions or (_NO_REGION,))
        # One run without a range does all that waits: a dimension has none, and a backlog would be too many.
        whole = [dg.RunRequest(job_name=job_name)] if keys else []
        owner = home(catalog, mart)
        yield _Work(
            job_name=job_name,
            requests=whole if not ranges or len(ranges) > _RUNS_PER_TICK else ranges,
            datasets=[catalog.dataset(name) for name in sorted(catalog.origins(mart))],
            table=tables[f"gold/{mart.name}"],
            master=None if owner is None else catch_up_job_name(owner),
            awaits=next(
                (
                    f"gold/{name}"
                    for name in mart.marts
                    if tables[f"gold/{name}"] is None or (stale[name] and catalog.origins(mart).isdisjoint(live))
                ),
                "",
            ),
        )


def _outdated(dataset: Dataset, silver: Table | None) -> bool:
    try:
        return outdated(dataset, silver)
    except ConfigurationError:  # its run says so, and the other datasets go on
        return True


def _range_runs(job_name: str, keys: set[Key], *, regions: tuple[str, ...]) -> list[dg.RunRequest]:
    covering = rectangles(keys, regions=regions, most=_KEYS_PER_RUN)
    return [dg.RunRequest(job_name=job_name, tags=range_tags(rectangle)) for rectangle in covering]
