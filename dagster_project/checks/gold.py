"""Checks of a mart: one for each of its rules, evaluated by the run that has measured them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from dagster_project.contract.model import Mart
from dagster_project.contract.publishing import APPEND_ONLY
from dagster_project.lake.keys import Key
from dagster_project.naming import asset_key, check_name
from dagster_project.quality.audit import Finding
from dagster_project.refine.audit import RefusedError, held, severities
from dagster_project.refine.gold import Computed

# Table partitions in the metadata of a check; more are told by their number.
_NAMED = 20
_CONSEQUENCE = {"cp": "nothing of the batch is published", "ap": "its table partitions stay as they were"}


def specs(mart: Mart) -> list[dg.AssetCheckSpec]:
    """What every run of a mart is checked for."""
    asset = asset_key("gold", mart.name)
    described = {rule.id: f"{rule.query or rule.metric} must be {rule.bound}" for rule in mart.rules}
    if mart.append_only:
        described[APPEND_ONLY] = "Every row that was published is still there, unchanged."
    return [
        dg.AssetCheckSpec(check_name(rule), asset=asset, description=description)
        for rule, description in described.items()
    ]


def results(
    mart: Mart, cursors: Mapping[str, int], commits: Sequence[Computed], refused: RefusedError | None
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checks.

    Args:
        cursors: of the mart as it stands; what it holds back since an earlier run is still broken.
        commits: of this run.
        refused: where nothing could be published.
    """
    told = [found for commit in commits for found in (commit.held, commit.warnings)]
    broken = list(_pairs(told if refused is None else [*told, refused.verdict.broken, refused.verdict.warnings]))
    measured = sum(len(commit.rows) + len(commit.held) for commit in commits)
    measured += 0 if refused is None else len(refused.verdict.published) + len(refused.verdict.broken)
    for rule, severity in severities(mart).items():
        found = {str(key): "held back by an earlier run" for key in held(cursors, rule)}
        found |= {str(key): str(finding) for key, finding in broken if finding.rule == rule}
        yield dg.AssetCheckResult(
            asset_key=asset_key("gold", mart.name),
            check_name=check_name(rule),
            passed=not found,
            severity=dg.AssetCheckSeverity.WARN if severity == "warning" else dg.AssetCheckSeverity.ERROR,
            metadata={
                "table_partitions_measured": measured,
                "table_partitions_broken": len(found),
                "broken": dg.MetadataValue.json(dict(list(found.items())[:_NAMED])),
                "if_broken": "only counted" if severity == "warning" else _CONSEQUENCE[mart.consistency],
            },
        )


def _pairs(found: Iterable[Mapping[Key, Sequence[Finding]]]) -> Iterator[tuple[Key, Finding]]:
    for by_key in found:
        for key, findings in by_key.items():
            for finding in findings:
                yield key, finding
