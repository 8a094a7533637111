"""Error budgets as checks: one for each objective of a dataset, red while its budget is overspent or burns too fast."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from dagster_project import naming
from dagster_project.contract.model import Catalog, Dataset
from dagster_project.naming import asset_key
from dagster_project.resources.lake import LakeResource
from dagster_project.slo.objectives import Name, promises
from dagster_project.slo.status import Objective, status

# Lag is Bronze's, all else is what readers of Silver and Gold see.
_OF_BRONZE = ("lag_records", "lag_seconds")


def check_name(objective: Name) -> str:
    return naming.check_name("slo", objective)


def specs(dataset: Dataset) -> list[dg.AssetCheckSpec]:
    """One check for each objective, whatever its regions."""
    return [
        dg.AssetCheckSpec(
            check_name(objective),
            asset=_asset(dataset, objective),
            description=f"The error budget of {objective} lasts: {target:.6g} of a hundred are good over "
            f"{dataset.slo.window.days} days.",
        )
        for objective, target in _targets(dataset).items()
    ]


def _targets(dataset: Dataset) -> dict[Name, float]:
    return {one.name: 100 * one.target for one in promises(dataset)}


def slo_checks(dataset: Dataset, *, catalog: Catalog) -> dg.AssetChecksDefinition:
    """The checks, to be run by hand from the UI; a sensor reports the same evaluations without a run."""

    @dg.multi_asset_check(name=f"slo_{dataset.name}", specs=specs(dataset))
    def slo(lake: LakeResource) -> Iterator[dg.AssetCheckResult]:
        found = status(catalog, storage=lake.storage(), now=dt.datetime.now(dt.UTC))
        known = {one.check_name: one for one in evaluate(dataset, found)}
        for spec in specs(dataset):
            evaluation = known.get(spec.name)
            yield dg.AssetCheckResult(
                asset_key=spec.asset_key,
                check_name=spec.name,
                passed=evaluation is not None and evaluation.passed,
                severity=dg.AssetCheckSeverity.WARN,
                metadata={"measured": "never"} if evaluation is None else evaluation.metadata,
            )

    return slo


def evaluate(dataset: Dataset, found: Iterable[Objective]) -> list[dg.AssetCheckEvaluation]:
    """A verdict for each objective of a dataset that was ever measured."""
    by_name: dict[Name, list[Objective]] = {}
    for one in found:
        if one.dataset == dataset.name:
            by_name.setdefault(one.name, []).append(one)
    return [_evaluation(dataset, name, regions) for name, regions in by_name.items()]


def _evaluation(dataset: Dataset, name: Name, regions: Sequence[Objective]) -> dg.AssetCheckEvaluation:
    worst = min(regions, key=lambda one: one.budget_left)
    facts = {
        "value": worst.value,
        "bound": worst.bound,
        "unit": worst.unit,
        "target": worst.target,
        "attained": worst.attained,
        "budget_left": worst.budget_left,
        "unmeasured": worst.unmeasured,
        "measured_at": worst.at.isoformat(),
        **{f"burn_{window}": rate for window, rate in worst.burn.items()},
    }
    return dg.AssetCheckEvaluation(
        asset_key=_asset(dataset, name),
        check_name=check_name(name),
        passed=not any(one.burning or one.budget_left < 0 for one in regions),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            **{fact: value for fact, value in facts.items() if value is not None},
            "regions": _regions(regions),
        },
    )


def _regions(regions: Sequence[Objective]) -> dg.TableMetadataValue:
    columns = {
        "region": "string",
        "value": "float",
        "attained": "float",
        "budget_left": "float",
        "good": "int",
        "bad": "int",
        "burning": "bool",
    }
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "region": one.region or "all",
                    "value": one.value,
                    "attained": one.attained,
                    "budget_left": one.budget_left,
                    "good": one.good,
                    "bad": one.bad,
                    "burning": one.burning,
                }
            )
            for one in regions
        ],
        schema=dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()]),
    )


def _asset(dataset: Dataset, objective: Name) -> dg.AssetKey:
    return asset_key("bronze", dataset.name) if objective in _OF_BRONZE else asset_key("silver", dataset.table)
