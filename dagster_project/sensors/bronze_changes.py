"""Bronze changes → one Silver + Gold run for each date × region rectangle, derived from the tables' own cursors."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from dagster_project.assets.catch_up import catch_up_job_name
from dagster_project.assets.partitions import range_tags
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.errors import ConfigurationError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, rectangles
from dagster_project.lake.serving import inputs, written
from dagster_project.lake.table import Table
from dagster_project.refine.plan import pending_gold, pending_silver
from dagster_project.refine.recover import outdated
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors.kafka_lag import INTERVAL_S, ingest_job_name
from dagster_project.sensors.launch import Runs

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


def refine_job_name(dataset: Dataset) -> str:
    return f"refine_{dataset.table}"


def aggregate_job_name(mart: Mart) -> str:
    return f"aggregate_{mart.name}"


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
        tables: dict[str, Table | None] = lake.find(
            *map(specs.bronze, catalog.datasets),
            *map(specs.silver, catalog.every_version()),
            *(specs.gold(mart) for mart in catalog.marts),
        )
        shown = inputs(catalog, tables, storage=lake.storage())
        versions = [item for name in catalog.names() for item in written(catalog, name, storage=lake.storage())]
        requests: list[dg.RunRequest] = []
        notes: list[str] = []
        runs = Runs(context.instance)
        live = {dataset.name for dataset in catalog.datasets if runs.running(ingest_job_name(dataset)) is not None}
        for job_name, candidates, master in _work(catalog, versions, tables, shown, live):
            if not candidates:
                continue
            if master is not None and (run := runs.running(master)) is not None:
                notes.append(f"{master} is doing it ({run.run_id[:8]})")
                continue
            if (wait := runs.reason_to_wait(job_name)) is not None:
                notes.append(wait)
                continue
            requests.extend(candidates[:_RUNS_PER_TICK])
        return (
            dg.SensorResult(run_requests=requests)
            if requests
            else dg.SkipReason("; ".join(notes) or "everything is current")
        )

    return bronze_changes


def _work(
    catalog: Catalog,
    versions: Iterable[Dataset],
    tables: Mapping[str, Table | None],
    shown: Mapping[str, Table | None],
    live: Collection[str],
) -> Iterator[tuple[str, list[dg.RunRequest], str | None]]:
    """By job, the runs that would bring everything up to date; and the job that does the same while it runs.

    Args:
        versions: of datasets, that are written.
        shown: the tables as marts read them.
        live: datasets whose Bronze is being filled; one run follows it, instead of one for each commit.
    """
    for dataset in versions:
        master = catch_up_job_name(dataset)
        keys = set(pending_silver(dataset, tables))
        for mart in by_rectangle(catalog, dataset):
            keys.update(pending_gold(mart, shown))
        gained = _outdated(dataset, tables[f"silver/{dataset.table}"])
        if gained or len(keys) > _BACKLOG or Key(None, None) in keys or (keys and dataset.name in live):
            yield master, [dg.RunRequest(job_name=master)], None
            continue
        refine = _range_runs(refine_job_name(dataset), keys, regions=dataset.regions)
        if len(refine) > _RUNS_PER_TICK:
            yield master, [dg.RunRequest(job_name=master)], None
            continue
        yield refine_job_name(dataset), refine, master
        for mart in catalog.marts_of(dataset.name) if dataset not in catalog.successors else ():
            if len(mart.partitioned_by) == 1:
                dates = {Key(key.date, _NO_REGION) for key in pending_gold(mart, shown)}
                job_name = aggregate_job_name(mart)
                yield job_name, _range_runs(job_name, dates, regions=(_NO_REGION,)), master


def _outdated(dataset: Dataset, silver: Table | None) -> bool:
    try:
        return outdated(dataset, silver)
    except ConfigurationError:  # its run says so, and the other datasets go on
        return True


def _range_runs(job_name: str, keys: set[Key], *, regions: tuple[str, ...]) -> list[dg.RunRequest]:
    covering = rectangles(keys, regions=regions, most=_KEYS_PER_RUN)
    return [dg.RunRequest(job_name=job_name, tags=range_tags(rectangle)) for rectangle in covering]


def by_rectangle(catalog: Catalog, dataset: Dataset) -> list[Mart]:
    """Marts with the dataset's own table partitions, computed in the same run as its Silver; of two versions the older's."""
    return [
        mart
        for mart in catalog.marts_of(dataset.name)
        if dataset not in catalog.successors and len(mart.partitioned_by) > 1 and mart.datasets[0] == dataset.name
    ]
