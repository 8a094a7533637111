"""Catching up: Silver and the marts that come from one dataset in a single run, however many table partitions wait.

Dagster tells a range run of each asset and table partition twice, at its start and at its end. A backlog of a thousand
partitions would spend minutes on that; this run tells of each once, when it is done. While Bronze is being filled it
follows, commit by commit, for as long as a run of Bronze, and tells each minute. It also serves deletes, which name no
table partition.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import dagster as dg

from dagster_project.assets.bronze import IDLE_SECONDS, RUN_SECONDS, TELL_SECONDS
from dagster_project.assets.describe import RETRIES, Outcome, log_partitions, together
from dagster_project.assets.gold import run_gold
from dagster_project.assets.jobs import catch_up_job_name, home
from dagster_project.assets.priority import priority_tags, seconds_of
from dagster_project.assets.silver import run_silver
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.launcher.limits import bounded
from dagster_project.naming import asset_key
from dagster_project.refine.engine import Engine
from dagster_project.refine.silver import Refined
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.lake import LakeResource
from dagster_project.resources.spark import SparkResource
from dagster_project.telemetry.run import run

# How often it looks for more. To look costs one request to the store, and latency is half of this in the mean.
_LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class _Round:
    """What was done after one look at Bronze."""

    silver: Outcome
    commits: list[Refined]
    marts: dict[str, Outcome]


def catch_up_job(dataset: Dataset, *, catalog: Catalog, home: Path) -> dg.JobDefinition:
    """Works on everything that is older than its input."""

    @dg.op(name=f"catch_up_{dataset.table}_tables", retry_policy=RETRIES, pool=f"silver_{dataset.table}")
    def tables(
        context: dg.OpExecutionContext,
        lake: LakeResource,
        cache: CacheResource,
        costs: dg.ResourceParam[Recorder],
        spark: SparkResource,
    ) -> None:
        untold: list[_Round] = []
        marts: dict[str, Outcome] = {}
        told = time.monotonic()
        with explained(), run(context.run.run_id, asset=f"catch_up/{dataset.table}", home=home):
            seconds = seconds_of(context.run, RUN_SECONDS)
            engine = partial(spark.engine, storage=lake.storage(), context=context)
            for done in _rounds(dataset, catalog, lake, cache, costs, engine=engine, seconds=seconds):
                untold.append(done)
                marts = done.marts
                # Told after the tables are current: readers need not wait for the UI.
                if time.monotonic() - told > TELL_SECONDS:
                    _tell(context, dataset, untold)
                    untold, told = [], time.monotonic()
        if untold:
            _tell(context, dataset, untold)
        with explained():
            # All marts were computed in each round, so what the last one was refused for still stands.
            for outcome in marts.values():
                outcome.stand()

    @dg.job(
        name=catch_up_job_name(dataset),
        description=f"Brings Silver and the marts that come from {dataset.table} alone up to date.",
        tags=bounded(_own(catalog, dataset)) | priority_tags([dataset]),
    )
    def catch_up() -> None:
        tables()

    return catch_up


def _own(catalog: Catalog, dataset: Dataset) -> list[Mart]:
    """The marts that are brought up to date with a dataset."""
    return [mart for mart in catalog.marts if home(catalog, mart) == dataset]


def _rounds(
    dataset: Dataset,
    catalog: Catalog,
    lake: LakeResource,
    cache: CacheResource,
    costs: Recorder,
    *,
    engine: Callable[[Mart], Engine],
    seconds: float,
) -> Iterator[_Round]:
    """Bring everything up to date whenever Bronze has moved, until it rests or the time of a run is over."""
    marts = _own(catalog, dataset)
    active = began = time.monotonic()
    bronze = lake.find(specs.bronze(dataset))[f"bronze/{dataset.name}"]
    seen = -1
    while bronze is not None and time.monotonic() - began < seconds:
        if seen == bronze.version:
            if time.monotonic() - active > IDLE_SECONDS:
                return
            time.sleep(_LOOK_S)
            bronze.refresh()
            continue
        seen = bronze.version
        silver, commits = run_silver(dataset, lake, costs, keys=None, afresh=False)
        computed = {
            mart.name: run_gold(mart, catalog, lake, cache, costs, engine=engine(mart), keys=None, afresh=False)
            for mart in marts
        }
        yield _Round(silver=silver, commits=commits, marts=computed)
        active = time.monotonic()


def _tell(context: dg.OpExecutionContext, dataset: Dataset, rounds: Sequence[_Round]) -> None:
    silver = asset_key("silver", dataset.table)
    log_partitions(context, silver, together([done.silver for done in rounds]))
    for name in rounds[-1].marts:
        log_partitions(context, asset_key("gold", name), together([done.marts[name] for done in rounds]))
    # After the materializations: a check that is older than the newest one counts as not evaluated.
    commits = [commit for done in rounds for commit in done.commits]
    of_marts = [result for outcome in rounds[-1].marts.values() for result in outcome.checks]
    for result in (*checks.results(dataset, rounds[-1].silver.table, commits, silver), *of_marts):
        context.instance.report_runless_asset_event(checks.as_evaluation(result))
