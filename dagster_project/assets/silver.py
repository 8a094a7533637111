"""Silver assets: typed, deduplicated, gated rows of one dataset."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
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
    tag_run,
    with_cost,
)
from dagster_project.assets.lineage import silver_lineage
from dagster_project.assets.partitions import dataset_partitions
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Dataset
from dagster_project.cost.recorder import Recorder
from dagster_project.failure import explained
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.naming import asset_key
from dagster_project.refine.holds import holds, is_in
from dagster_project.refine.late import together
from dagster_project.refine.recover import backfill
from dagster_project.refine.restate import restate
from dagster_project.refine.silver import Refined, refine
from dagster_project.refine.watermarks import Watermark, watermarks
from dagster_project.resources.lake import LakeResource
from dagster_project.telemetry.run import run


def silver_asset(dataset: Dataset, *, uri: str, home: Path) -> dg.AssetsDefinition:
    """Merges new Bronze rows into the chosen table partitions."""
    key = asset_key("silver", dataset.table)

    @dg.asset(
        **common(dataset, layer="silver", uri=uri, kinds={"deltalake", "polars", "silver"}),
        description=dataset.description,
        partitions_def=dataset_partitions(dataset),
        deps=[asset_key("bronze", dataset.name)],
        check_specs=checks.specs(dataset, key),
        output_required=False,  # what the gate holds back is not materialized
    )
    def silver(
        context: dg.AssetExecutionContext, lake: LakeResource, costs: dg.ResourceParam[Recorder]
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        with explained(), run(context.run.run_id, asset=f"silver/{dataset.table}", home=home):
            outcome, commits = run_silver(dataset, lake, costs, keys=chosen_keys(context), afresh=by_hand(context))
        tag_run(
            context,
            [batch for commit in commits for batch in commit.batches or ()],
            [name for commit in commits for name in commit.named],
        )
        held = [name for name in chosen_keys(context) or [] if is_held(outcome, name)]
        if held:
            # Dagster would materialize every partition that the run was asked for. Marts follow with the next tick.
            log_partitions(context, key, published(outcome, asked=chosen_keys(context) or [], held=held))
        else:
            report_partitions(context, outcome)
            yield dg.MaterializeResult(metadata=outcome.metadata)
        yield from checks.results(dataset, outcome.table, commits, key)

    return silver


def is_held(outcome: Outcome, key: Key) -> bool:
    """Whether the gate holds a table partition back, as the table stands."""
    return outcome.table is not None and is_in(key, holds(outcome.table.cursors()))


def published(outcome: Outcome, *, asked: Iterable[Key], held: Collection[Key]) -> Outcome:
    """What a run did, without the table partitions that were held back."""
    return replace(outcome, touched={**{key: 0 for key in asked if key not in held}, **outcome.touched})


def _told(found: Mapping[str, Watermark]) -> dict[str, str]:
    return {region: f"{mark.at}, silent" if mark.silent else str(mark.at) for region, mark in found.items()}


def run_silver(
    dataset: Dataset, lake: LakeResource, costs: Recorder, *, keys: Iterable[Key] | None, afresh: bool
) -> tuple[Outcome, list[Refined]]:
    """Refine, and say what was done in the words of the UI."""
    with costs.of(f"silver/{dataset.table}", dataset.name) as spent:
        outcome, commits = _refined(dataset, lake, keys=keys, afresh=afresh)
        spent.events += outcome.metadata["rows_read"]
    return with_cost(outcome, costs, spent), commits


def _refined(
    dataset: Dataset, lake: LakeResource, *, keys: Iterable[Key] | None, afresh: bool
) -> tuple[Outcome, list[Refined]]:
    bring = restate if dataset.protected else backfill
    filled = bring(dataset, storage=lake.storage())
    commits = list(refine(dataset, storage=lake.storage(), keys=keys, afresh=afresh))
    touched: Counter[Key] = Counter(dict.fromkeys(filled, 0))
    for commit in commits:
        touched.update({**dict.fromkeys(commit.read, 0), **commit.written})
    table = lake.find(specs.silver(dataset))[f"silver/{dataset.table}"]
    reasons = sum((Counter(commit.reasons) for commit in commits), Counter[str]())
    warnings = sum((Counter(commit.warnings) for commit in commits), Counter[str]())
    held = {str(scope): why for commit in commits for scope, why in commit.held.items()}
    metadata = {
        "dagster/row_count": 0 if table is None else int(table.files()["num_records"].sum()),
        "rows_read": sum(sum(commit.read.values()) for commit in commits),
        "rows_added": sum(touched.values()),
        "superseded": sum(commit.superseded for commit in commits),
        "quarantined": sum(commit.quarantined for commit in commits),
        "quarantine_reasons": dg.MetadataValue.json(dict(reasons.most_common(10))),
        "rule_warnings": dg.MetadataValue.json(dict(warnings)),
        "held": dg.MetadataValue.json(held),
        "lateness": dg.MetadataValue.json(together(commit.lateness for commit in commits)),
        "beyond_horizon": sum(commit.beyond for commit in commits),
        "watermarks": dg.MetadataValue.json({} if table is None else _told(watermarks(dataset, table))),
        "backfilled": sum(filled.values()),
        "deleted": sum(commit.deleted for commit in commits),
        "delta_version": -1 if table is None else table.version,
        "dagster/column_lineage": silver_lineage(dataset),
        **({} if table is None else {"sample": checks.sample(dataset, table, list(touched))}),
    }
    return Outcome(table=table, touched=touched, metadata=metadata), commits
