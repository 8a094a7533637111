"""Catching up: Silver and all marts of one dataset in a single run, however many table partitions wait.

Dagster tells a range run of each asset and table partition twice, at its start and at its end. A backlog of a thousand
partitions would spend minutes on that; this run tells of each once, when it is done. It also serves deletes, which name
no table partition.
"""

import dagster as dg

from dagster_project.assets.describe import RETRIES, log_partitions
from dagster_project.assets.gold import run_gold
from dagster_project.assets.silver import run_silver
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.failure import explained
from dagster_project.naming import asset_key
from dagster_project.resources.lake import LakeResource


def catch_up_job_name(dataset: Dataset) -> str:
    return f"catch_up_{dataset.name}"


def catch_up_job(dataset: Dataset, *, catalog: Catalog) -> dg.JobDefinition:
    """Works on everything that is older than its input."""
    silver = asset_key("silver", dataset.name)

    @dg.op(name=f"catch_up_{dataset.name}_tables", retry_policy=RETRIES, pool=f"silver_{dataset.name}")
    def tables(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        marts = catalog.marts_of(dataset.name)
        with explained():
            refined, commits = run_silver(dataset, lake, keys=None, afresh=False)
            computed = {mart.name: run_gold(mart, catalog, lake, keys=None, afresh=False) for mart in marts}
        # Told last: the tables are current by now, and readers need not wait for the UI.
        log_partitions(context, silver, refined, keys=refined.touched)
        for name, outcome in computed.items():
            log_partitions(context, asset_key("gold", name), outcome, keys=outcome.touched)
        # After the materializations: a check that is older than the newest one counts as not evaluated.
        for result in checks.results(dataset, refined.table, commits, silver):
            context.instance.report_runless_asset_event(checks.as_evaluation(result))

    @dg.job(name=catch_up_job_name(dataset), description=f"Brings Silver and all marts of {dataset.name} up to date.")
    def catch_up() -> None:
        tables()

    return catch_up
