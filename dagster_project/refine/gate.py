"""The gate before Silver: what of a staged portion may be published, as each table partition would then be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.audit import Finding, audit
from dagster_project.refine.merge import Merge, merge
from dagster_project.refine.statistics import compare


@dataclass(frozen=True, kw_only=True)
class Audited:
    """A merge of which every table partition keeps to the table rules.

    Attributes:
        broken: by table partition, why its rows are not in the merge.
        warnings: by rule, table partitions that break it and are published all the same.
    """

    merged: Merge
    broken: Mapping[Key, str]
    warnings: Mapping[str, int]


def without(rows: pl.DataFrame, scopes: Iterable[Key]) -> pl.DataFrame:
    """Rows, or files, of table partitions that are in none of the scopes."""
    every = list(scopes)
    if not every:
        return rows
    regions = [scope.region for scope in every if scope.date is None]
    keys = frame_of(scope for scope in every if scope.date is not None)
    inside = pl.col("region").is_in(regions).fill_null(value=False)
    return rows.filter(~inside).join(keys, on=specs.KEYS, how="anti", nulls_equal=True, maintain_order="left")


def audited(
    dataset: Dataset, silver: Table, good: pl.DataFrame, *, holdable: pl.DataFrame, storage: Storage
) -> Audited:
    """Merge rows, but for those of table partitions that would then break a table rule.

    Args:
        holdable: those of the rows that can be held back; what breaks a rule elsewhere is only told.

    Raises:
        ContractError: an SQL rule of the contract cannot be run.
    """
    if not dataset.table_rules and not dataset.statistics:
        return Audited(merged=merge(dataset, silver, good), broken={}, warnings={})
    keys = set(keys_of(holdable.filter(~pl.col("_deleted"))))
    broken: dict[Key, str] = {}
    while True:
        merged = merge(dataset, silver, good)
        findings = _audit(dataset, silver, merged, storage)
        errors = {
            key: "; ".join(str(finding) for finding in found if finding.severity == "error")
            for key, found in findings.items()
            if key in keys and any(finding.severity == "error" for finding in found)
        }
        if not errors:
            warnings = Counter(finding.rule for found in findings.values() for finding in found)
            return Audited(merged=merged, broken=broken, warnings=warnings)
        # Without them another table partition may keep a row that had moved to one of these, so all are audited again.
        broken |= errors
        keys = keys - errors.keys()
        good = without(good, errors)


def _audit(dataset: Dataset, silver: Table, merged: Merge, storage: Storage) -> dict[Key, list[Finding]]:
    """Measure each table partition that the merge touches, as it would be."""
    stays = silver.files().join(merged.rewritten.select("path"), on="path", how="anti")
    found: dict[Key, list[Finding]] = {}
    for key in merged.touched:
        if key.date is None:
            continue
        own = frame_of([key])
        staged = pl.concat(
            [
                silver.rows(stays.join(own, on=specs.KEYS, how="semi")),
                silver.rows(merged.rewritten.join(own, on=specs.KEYS, how="semi")).join(
                    merged.losers.lazy(), on=merged.losers.columns, how="anti"
                ),
                merged.added.join(own, on=specs.KEYS, how="semi").lazy(),
            ],
            how="diagonal",
        )
        staged = staged.filter(~pl.col("_deleted"))
        found[key] = [
            *audit(dataset.table_rules, staged),
            *compare(dataset, key, staged, silver=silver, storage=storage),
        ]
    return found
