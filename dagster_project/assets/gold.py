"""Gold assets: one for each mart, recomputed where its input changed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.assets.describe import (
    Outcome,
    by_hand,
    chosen_keys,
    common,
    log_partitions,
    report_partitions,
    with_cost,
)
from dagster_project.assets.lineage import gold_lineage
from dagster_project.assets.partitions import mart_mapping, mart_partitions
from dagster_project.assets.silver import published
from dagster_project.checks import gold as checks
from dagster_project.contract.model import Catalog, Mart, MartInput
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, in_words
from dagster_project.lake.table import Table
from dagster_project.naming import asset_key
from dagster_project.refine.audit import RefusedError, held, severities
from dagster_project.refine.engine import Engine
from dagster_project.refine.gold import Computed, compute
from dagster_project.refine.reach import computed
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.lake import LakeResource
from dagster_project.resources.spark import SparkResource
from dagster_project.telemetry.run import run


def gold_asset(mart: Mart, *, catalog: Catalog, uri: str, home: Path) -> dg.AssetsDefinition:
    """Runs the mart's SQL for the chosen table partitions, or for all that are older than their input."""
    kind = "spark" if mart.engine == "spark" else "duckdb"
    arguments = common(mart, layer="gold", uri=uri, kinds={"deltalake", kind, "gold"})
    arguments["metadata"] |= {"sql": dg.MetadataValue.md(f"```sql\n{mart.sql}\n```")}

    @dg.asset(
        **arguments,
        description=mart.description,
        partitions_def=mart_partitions(mart),
        deps=[dep for item in mart.inputs for dep in _deps(mart, item, catalog)],
        check_specs=checks.specs(mart),
        output_required=False,  # what would break a rule is not materialized
    )
    def gold(
        context: dg.AssetExecutionContext,
        lake: LakeResource,
        cache: CacheResource,
        costs: dg.ResourceParam[Recorder],
        spark: SparkResource,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with explained(), run(context.run.run_id, asset=f"gold/{mart.name}", home=home):
            afresh = by_hand(context, whole=not mart.partitioned_by)
            engine = spark.engine(mart, storage=lake.storage(), context=context)
            outcome = run_gold(
                mart, catalog, lake, cache, costs, engine=engine, keys=chosen_keys(context), afresh=afresh
            )
        asked = chosen_keys(context) or []
        if outcome.held.intersection(asked):
            # Dagster would materialize every partition that the run was asked for.
            log_partitions(context, context.asset_key, published(outcome, asked=asked, held=outcome.held))
        elif outcome.refused is None:
            report_partitions(context, outcome)
            yield dg.MaterializeResult(metadata=outcome.metadata)
        yield from outcome.checks
        with explained():
            outcome.stand()

    return gold


def run_gold(
    mart: Mart,
    catalog: Catalog,
    lake: LakeResource,
    cache: CacheResource,
    costs: Recorder,
    *,
    engine: Engine,
    keys: Iterable[Key] | None,
    afresh: bool,
) -> Outcome:
    """Compute and publish, and say what was done in the words of the UI; what is refused is told of, and not raised yet."""
    with costs.of(f"gold/{mart.name}", *sorted(catalog.origins(mart))) as spent:
        spent.engine = engine.name
        outcome = _computed(mart, catalog, lake, cache, costs, engine=engine, keys=keys, afresh=afresh)
        spent.events += outcome.metadata["rows_read"]
        spent.failed |= outcome.refused is not None
    return with_cost(outcome, costs, spent)


def _computed(
    mart: Mart,
    catalog: Catalog,
    lake: LakeResource,
    cache: CacheResource,
    costs: Recorder,
    *,
    engine: Engine,
    keys: Iterable[Key] | None,
    afresh: bool,
) -> Outcome:
    commits: list[Computed] = []
    refused: RefusedError | None = None
    served = "not served" if mart.serve is None else "as before"
    table = _newest(mart, lake)
    try:
        for commit in compute(mart, catalog=catalog, storage=lake.storage(), keys=keys, afresh=afresh, engine=engine):
            commits.append(commit)
            if (table := _newest(mart, lake)) is not None and mart.serve is not None:
                with costs.of(f"serving/{mart.name}", *sorted(catalog.origins(mart))):
                    served = cache.publish(mart, table)
    except RefusedError as error:
        refused = error
    rows: Counter[Key] = Counter()
    for commit in commits:
        rows.update(commit.rows)
    changed = [key for commit in commits for key in commit.changed]
    known = set[Key]() if table is None else computed(table.cursors())
    metadata = {
        "dagster/row_count": 0 if table is None else int(table.files()["num_records"].sum()),
        "rows_computed": sum(rows.values()),
        "partitions_computed": len(rows),
        "partitions_current": len(known.difference(rows)),
        "partitions_changed": len(changed),
        "computed": in_words(rows, regions=mart.regions),
        "changed": in_words(changed, regions=mart.regions),
        "rows_read": sum(commit.read for commit in commits),
        "held": in_words({key for commit in commits for key in commit.held}, regions=mart.regions),
        "input_versions": dg.MetadataValue.json(commits[-1].inputs if commits else {}),
        "delta_version": -1 if table is None else table.version,
        "cache": served,
        "engine": engine.name,
        **{f"{engine.name}/{name}": value for name, value in (commits[-1].told if commits else {}).items()},
        "dagster/column_lineage": gold_lineage(mart, catalog),
    }
    cursors = {} if table is None else table.cursors()
    return Outcome(
        table=table,
        touched=rows,
        metadata=metadata,
        checks=list(checks.results(mart, cursors, commits, refused)),
        held=frozenset(key for rule in severities(mart) for key in held(cursors, rule)),
        refused=refused,
    )


def _newest(mart: Mart, lake: LakeResource) -> Table | None:
    return lake.find(specs.gold(mart))[f"gold/{mart.name}"]


def _deps(mart: Mart, item: MartInput, catalog: Catalog) -> Iterator[dg.AssetDep]:
    if item.kind == "mart":
        source = catalog.mart(item.name)
        mapping = mart_mapping(mart, item, by_region=bool(source.regions), by_date=source.start_date is not None)
        yield dg.AssetDep(asset_key("gold", item.name), partition_mapping=mapping)
        return
    mapping = mart_mapping(mart, item, by_region=True, by_date=True)
    for version in catalog.versions(item.name):
        yield dg.AssetDep(asset_key("silver", version.table), partition_mapping=mapping)
