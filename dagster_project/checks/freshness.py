"""Freshness by region: how old the newest event is, which Dagster's own policy cannot say of a partitioned table."""

import datetime as dt
from collections.abc import Iterator

import dagster as dg

from dagster_project import naming
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs as tables
from dagster_project.lake.table import Table
from dagster_project.naming import asset_key
from dagster_project.resources.lake import LakeResource
from dagster_project.slo.reading import newest_events


def check_name(region: str) -> str:
    return naming.check_name("freshness", region)


def specs(dataset: Dataset, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """One check for each region, evaluated whether or not anything arrives, so that silence is noticed too."""
    return [
        dg.AssetCheckSpec(
            check_name(region),
            asset=asset,
            description=f"The newest event of {region} is at most {dataset.slo.freshness} old ({dataset.event_time}).",
        )
        for region in dataset.regions
    ]


def freshness_checks(dataset: Dataset) -> dg.AssetChecksDefinition:
    """The checks, to be run by hand from the UI; a sensor reports the same evaluations without a run."""
    asset = asset_key("silver", dataset.table)

    @dg.multi_asset_check(name=f"freshness_{dataset.name}", specs=specs(dataset, asset))
    def freshness(lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        silver = lake.find(tables.silver(dataset))[f"silver/{dataset.table}"]
        for evaluation in evaluate(dataset, silver, now=dt.datetime.now(dt.UTC)):
            yield dg.AssetCheckResult(
                asset_key=asset,
                check_name=evaluation.check_name,
                passed=evaluation.passed,
                severity=evaluation.severity,
                metadata=evaluation.metadata,
            )

    return freshness


def evaluate(dataset: Dataset, silver: Table | None, *, now: dt.datetime) -> list[dg.AssetCheckEvaluation]:
    """Evaluate every region's freshness at a moment."""
    newest = {} if silver is None else newest_events(dataset, silver)
    evaluations: list[dg.AssetCheckEvaluation] = []
    for region in dataset.regions:
        watermark = newest.get(region)
        age = None if watermark is None else now - watermark
        evaluations.append(
            dg.AssetCheckEvaluation(
                asset_key=asset_key("silver", dataset.name),
                check_name=check_name(region),
                passed=age is not None and age <= dataset.slo.freshness,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={
                    "newest_event": "none" if watermark is None else watermark.isoformat(),
                    "age_seconds": -1.0 if age is None else age.total_seconds(),
                    "slo_seconds": dataset.slo.freshness.total_seconds(),
                },
            )
        )
    return evaluations
