"""Gold assets: one for each mart, recomputed where its input changed."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import dagster as dg

from dagster_project.assets.describe import Outcome, by_hand, chosen_keys, common, report_partitions
from dagster_project.assets.lineage import gold_lineage
from dagster_project.assets.partitions import mart_partitions
from dagster_project.contract.model import Catalog, Mart
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.naming import asset_key
from dagster_project.refine.gold import compute
from dagster_project.resources.lake import LakeResource


def gold_asset(mart: Mart, *, catalog: Catalog, uri: str) -> dg.AssetsDefinition:
    """Runs the mart's SQL for the chosen table partitions, or for all that are older than their input."""
    datasets = {dataset.name: dataset for dataset in catalog.datasets}
    arguments = common(mart, layer="gold", uri=uri, kinds={"deltalake", "duckdb", "gold"})
    arguments["metadata"] |= {"sql": dg.MetadataValue.md(f"```sql\n{mart.sql}\n```")}

    @dg.asset(
        **arguments,
        description=mart.description,
        partitions_def=mart_partitions(mart, datasets[mart.datasets[0]]),
        deps=[
            dg.AssetDep(asset_key("silver", version.table), partition_mapping=_mapping(mart))
            for name in mart.datasets
            for version in catalog.versions(name)
        ],
    )
    def gold(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult[Any]:
        with explained():
            outcome = run_gold(mart, catalog, lake, keys=chosen_keys(context), afresh=by_hand(context))
        report_partitions(context, outcome)
        return dg.MaterializeResult(metadata=outcome.metadata)

    return gold


def run_gold(mart: Mart, catalog: Catalog, lake: LakeResource, *, keys: Iterable[Key] | None, afresh: bool) -> Outcome:
    """Compute, and say what was done in the words of the UI."""
    began = time.process_time()
    commits = list(compute(mart, catalog=catalog, storage=lake.storage(), keys=keys, afresh=afresh))
    rows: Counter[Key] = Counter()
    for commit in commits:
        rows.update(commit.rows)
    table = lake.find(specs.gold(mart))[f"gold/{mart.name}"]
    metadata = {
        "dagster/row_count": 0 if table is None else int(table.files()["num_records"].sum()),
        "rows_computed": sum(rows.values()),
        "partitions_computed": len(rows),
        "rows_read": sum(commit.read for commit in commits),
        "input_versions": dg.MetadataValue.json(commits[-1].inputs if commits else {}),
        "delta_version": -1 if table is None else table.version,
        "cpu_seconds": round(time.process_time() - began, 3),
        "dagster/column_lineage": gold_lineage(mart, catalog),
    }
    return Outcome(table=table, touched=rows, metadata=metadata)


def _mapping(mart: Mart) -> dg.PartitionMapping | None:
    # A mart of dates alone reads every region of its date.
    return None if len(mart.partitioned_by) > 1 else dg.MultiToSingleDimensionPartitionMapping("date")
