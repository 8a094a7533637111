"""Catching up: Silver and all marts of one dataset in a single run, however many table partitions wait.

Dagster tells a range run of each asset and table partition twice, at its start and at its end. A backlog of a thousand
partitions would spend minutes on that; this run tells of each once, when it is done. While Bronze is being filled it
follows, commit by commit, so that a live stream pays for one launch a minute. It also serves deletes, which name no table
partition.
"""

import time

import dagster as dg

from dagster_project.assets.bronze import IDLE_SECONDS
from dagster_project.assets.describe import RETRIES, Outcome, log_partitions, together
from dagster_project.assets.gold import run_gold
from dagster_project.assets.silver import run_silver
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.launcher.limits import BOUNDED
from dagster_project.naming import asset_key
from dagster_project.refine.silver import Refined
from dagster_project.resources.lake import LakeResource

# While Bronze goes on to fill, so does this run, instead of a further one having to wait until this one has told the UI.
_FOLLOW_S = 60.0
# How often it looks for more. To look costs one request to the store, and latency is half of this in the mean.
_LOOK_S = 0.5


def catch_up_job_name(dataset: Dataset) -> str:
    return f"catch_up_{dataset.table}"


def catch_up_job(dataset: Dataset, *, catalog: Catalog) -> dg.JobDefinition:
    """Works on everything that is older than its input."""
    silver = asset_key("silver", dataset.table)

    @dg.op(name=f"catch_up_{dataset.table}_tables", retry_policy=RETRIES, pool=f"silver_{dataset.table}")
    def tables(context: dg.OpExecutionContext, lake: LakeResource) -> None:
        # Of two versions the older one's run computes the marts, whichever serves.
        marts = catalog.marts_of(dataset.name) if dataset not in catalog.successors else ()
        refined: list[Outcome] = []
        computed: dict[str, list[Outcome]] = {mart.name: [] for mart in marts}
        commits: list[Refined] = []
        active = began = time.monotonic()
        seen = -1
        with explained():
            bronze = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
            while bronze is not None and time.monotonic() - began < _FOLLOW_S:
                if seen == bronze.version:
                    if time.monotonic() - active > IDLE_SECONDS:
                        break
                    time.sleep(_LOOK_S)
                    bronze.refresh()
                    continue
                seen = bronze.version
                outcome, more = run_silver(dataset, lake, keys=None, afresh=False)
                refined.append(outcome)
                commits += more
                for mart in marts:
                    computed[mart.name].append(run_gold(mart, catalog, lake, keys=None, afresh=False))
                active = time.monotonic()
        if not refined:
            return
        # Told last: the tables are current by now, and readers need not wait for the UI.
        log_partitions(context, silver, together(refined))
        for name, outcomes in computed.items():
            log_partitions(context, asset_key("gold", name), together(outcomes))
        # After the materializations: a check that is older than the newest one counts as not evaluated.
        for result in checks.results(dataset, refined[-1].table, commits, silver):
            context.instance.report_runless_asset_event(checks.as_evaluation(result))

    @dg.job(
        name=catch_up_job_name(dataset),
        description=f"Brings Silver and all marts of {dataset.table} up to date.",
        tags=BOUNDED,
    )
    def catch_up() -> None:
        tables()

    return catch_up
