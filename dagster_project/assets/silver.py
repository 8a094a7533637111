"""Silver assets: typed, deduplicated, gated rows of one dataset."""

from collections import Counter
from collections.abc import Iterator

import dagster as dg

from dagster_project.assets.describe import asset_key, by_hand, chosen_keys, common, explained, report_partitions
from dagster_project.assets.partitions import dataset_partitions
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.refine.silver import Refined, refine
from dagster_project.resources.lake import LakeResource


def silver_asset(dataset: Dataset, *, uri: str) -> dg.AssetsDefinition:
    """Merges new Bronze rows into the chosen table partitions, or into all that have some."""
    key = asset_key("silver", dataset.name)

    @dg.asset(
        **common(dataset, layer="silver", uri=uri, kinds={"deltalake", "polars", "silver"}),
        description=dataset.description,
        partitions_def=dataset_partitions(dataset),
        deps=[asset_key("bronze", dataset.name)],
        check_specs=checks.specs(dataset, key),
    )
    def silver(
        context: dg.AssetExecutionContext, lake: LakeResource
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        commits: list[Refined] = []
        written: Counter[Key] = Counter()
        with explained():
            for commit in refine(dataset, storage=lake.storage(), keys=chosen_keys(context), afresh=by_hand(context)):
                context.log.info(f"version {commit.version}: {sum(commit.read.values())} rows read, {commit.quarantined} quarantined")
                commits.append(commit)
                written.update({**dict.fromkeys(commit.read, 0), **commit.written})
            table = lake.find(specs.silver(dataset))[f"silver/{dataset.name}"]
        report_partitions(context, table, written)
        reasons = sum((Counter(commit.reasons) for commit in commits), Counter[str]())
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": 0 if table is None else int(table.files()["num_records"].sum()),
                "rows_read": sum(sum(commit.read.values()) for commit in commits),
                "rows_added": sum(written.values()),
                "superseded": sum(commit.superseded for commit in commits),
                "quarantined": sum(commit.quarantined for commit in commits),
                "quarantine_reasons": dg.MetadataValue.json(dict(reasons.most_common(10))),
                "deleted": sum(commit.deleted for commit in commits),
                "delta_version": -1 if table is None else table.version,
                **({} if table is None else {"sample": checks.sample(dataset, table, list(written))}),
            }
        )
        yield from checks.results(dataset, table, commits, key)

    return silver
