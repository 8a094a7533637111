"""The check that a mart has the keys of its dimensions, and the figures of the marts that share its measures."""

import dagster as dg

from dagster_project.accounting.conformed import Conformity, check_conformed
from dagster_project.contract.model import Catalog, Mart
from dagster_project.failure import explained
from dagster_project.naming import asset_key
from dagster_project.resources.lake import LakeResource

NAME = "conformed_dimensions"


def conformed_checks(mart: Mart, *, catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """One for a mart that shares something, to be run by hand from the UI; a sensor reports the same without a run."""
    if not mart.conformed:
        return []

    @dg.asset_check(
        asset=asset_key("gold", mart.name),
        name=NAME,
        description="; ".join(f"{item.column} is {item.mart}.{item.to}" for item in mart.conformed) + ".",
    )
    def conformed_dimensions(lake: LakeResource) -> dg.AssetCheckResult:
        with explained():
            found = evaluate(mart, check_conformed(mart, catalog=catalog, storage=lake.storage()))
        return dg.AssetCheckResult(passed=found.passed, severity=found.severity, metadata=found.metadata)

    return [conformed_dimensions]


def evaluate(mart: Mart, found: Conformity) -> dg.AssetCheckEvaluation:
    """The verdict, as Dagster stores it."""
    return dg.AssetCheckEvaluation(
        asset_key=asset_key("gold", mart.name),
        check_name=NAME,
        passed=not found.problems,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "keys": found.keys,
            "unknown": found.unknown,
            "totals": found.totals,
            "waiting": len(found.waiting),
            "problems": "\n".join(found.problems) or "none",
        },
    )
