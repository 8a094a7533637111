"""Maintenance of tables: the small files of many commits are merged once a day."""

import dagster as dg

from dagster_project.assets.describe import RETRIES
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.table import TableSpec
from dagster_project.resources.lake import LakeResource


def compact_job_name(dataset: Dataset) -> str:
    return f"compact_{dataset.name}"


def compact_job(dataset: Dataset, *, catalog: Catalog) -> dg.JobDefinition:
    """Compacts the tables of a dataset and its marts, one op each."""
    marts = catalog.marts_of(dataset.name)
    ops = [
        _compact_op(spec, job=compact_job_name(dataset))
        for spec in (
            specs.bronze(dataset),
            specs.silver(dataset),
            specs.quarantine(dataset),
            *(specs.gold(mart) for mart in marts),
        )
    ]

    @dg.job(
        name=compact_job_name(dataset),
        description=f"Merges small files of {dataset.name} and its marts. Rows stay as they are; no file is deleted.",
    )
    def job() -> None:
        for op in ops:
            op()

    return job


def compact_schedule(dataset: Dataset, job: dg.JobDefinition) -> dg.ScheduleDefinition:
    """Once a night: a day's commits make some thousand files, which planning still reads at ease.

    Running unless a person stops it: what it does is invisible to readers, and a table that nobody compacts grows slow.
    """
    return dg.ScheduleDefinition(
        name=f"{compact_job_name(dataset)}_daily",
        job=job,
        cron_schedule="17 3 * * *",  # not on the hour, when everybody else's jobs start
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )


def _compact_op(spec: TableSpec, *, job: str) -> dg.OpDefinition:
    # Bronze has many writers, and ingest need not wait. Of the others each commit excludes all others, so compaction
    # takes its turn with the runs that write them instead of making one of them start over.
    pool = None if spec.many_writers else f"{spec.layer}_{spec.name}"

    @dg.op(name=f"{job}_{spec.layer}_{spec.name}", retry_policy=RETRIES, pool=pool)
    def compact_table(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        with explained():
            for done in compact(spec, storage=lake.storage()):
                if done.outpaced:
                    context.log.info(f"{done.table}: another writer came first, nothing was changed")
                else:
                    context.log.info(f"{done.table}: {done.files} files → {done.into}, version {done.version}")

    return compact_table
