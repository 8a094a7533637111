"""The gate between Bronze and Silver: what of a staged portion may be published, and what is held back, and why."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.table import Table
from dagster_project.quality.audit import Finding, audit
from dagster_project.quality.gate import judge
from dagster_project.refine.breaker import Tally
from dagster_project.refine.holds import Hold, fingerprint, freed, holds, region_of
from dagster_project.refine.merge import Merge, merge
from dagster_project.refine.staging import new_rows

# Of commits, where they say why a scope is held.
_HELD = "held"


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


def audited(dataset: Dataset, silver: Table, good: pl.DataFrame, *, holdable: set[Key]) -> Audited:
    """Merge rows, but for those of table partitions that would then break a table rule.

    Args:
        holdable: table partitions with rows that can be held back; what breaks a rule elsewhere is only told.

    Raises:
        ContractError: an SQL rule of the contract cannot be run.
    """
    broken: dict[Key, str] = {}
    while True:
        merged = merge(dataset, silver, good)
        findings = _audit(dataset, silver, merged) if dataset.table_rules else {}
        errors = {
            key: "; ".join(str(finding) for finding in found if finding.severity == "error")
            for key, found in findings.items()
            if key in holdable and any(finding.severity == "error" for finding in found)
        }
        if not errors:
            warnings = Counter(finding.rule for found in findings.values() for finding in found)
            return Audited(merged=merged, broken=broken, warnings=warnings)
        # Without them another table partition may keep a row that had moved to one of these, so all are audited again.
        broken |= errors
        holdable = holdable - errors.keys()
        good = without(good, errors)


def _audit(dataset: Dataset, silver: Table, merged: Merge) -> dict[Key, list[Finding]]:
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
        found[key] = audit(dataset.table_rules, staged.filter(~pl.col("_deleted")))
    return found


def hold(
    dataset: Dataset, silver: Table, reasons: Mapping[Key, str], *, judged: Mapping[Key, int]
) -> tuple[dict[str, int], dict[str, str]]:
    """Cursors, and words for people, of the commit that holds these scopes back, or holds them further."""
    before, now = holds(silver.cursors()), int(time.time() * 1000)
    cursors: dict[str, int] = {}
    for scope in reasons:
        known = before.get(scope)
        cursors |= Hold(
            scope=scope,
            version=silver.version + 1,
            since_ms=now if known is None else known.since_ms,
            retry_ms=now + int(dataset.breaker.probe.total_seconds() * 1000),
            judged=judged[scope],
            rules=fingerprint(dataset),
        ).cursors()
    told = {_HELD: json.dumps({str(scope): reason for scope, reason in reasons.items()})} if reasons else {}
    return cursors, told


def probe(
    dataset: Dataset, held: Hold, files: pl.DataFrame, *, bronze: Table, silver: Table, most: int, forced: bool
) -> str:
    """Judge what waits in a region whose breaker is open, and commit whether it closes.

    Only rows that came after the last verdict are asked, so that a mended producer is seen; all of them where the contract
    has changed. Once it is closed, all that waited is published, whatever its bad rate.

    Args:
        files: of Bronze, that wait in the region, as `pending_files` gives them.
        most: rows that are judged, the newest ones.
        forced: ask all rows, as a person wants it.

    Returns:
        Why it stays open; empty if it closes.

    Raises:
        StaleCursorError: another run refines the same dataset.
    """
    fresh = files.filter(pl.col("max._batch_id") > held.judged)
    whole = forced or fresh.is_empty() or held.rules != fingerprint(dataset)
    asked = (files if whole else fresh).sort("max._batch_id", descending=True)
    asked = asked.filter(pl.col("num_records").cum_sum() - pl.col("num_records") < most)
    rows = new_rows(bronze, asked, silver).filter(pl.col("_batch_id") > (-1 if whole else held.judged))
    bad = len(judge(dataset, rows).bad)
    tally = Tally(rows=len(rows), bad=bad)
    newest = {held.scope: _newest(files)}
    if (whole or tally.is_enough(dataset.breaker)) and not tally.is_bad(dataset.breaker):
        reason, told = "", {}
        cursors = freed([held.scope], version=silver.version + 1, judged=newest)
    else:
        enough = whole or tally.is_enough(dataset.breaker)
        reason = str(tally) if enough else f"{tally.rows} new rows are too few for a verdict"
        # Too few rows are judged again, with those that come.
        cursors, told = hold(
            dataset, silver, {held.scope: reason}, judged=newest if enough else {held.scope: held.judged}
        )
    silver.commit(pl.DataFrame(schema=dict(silver.spec.schema)), cursors=cursors, metadata=told)
    return reason


def reasons(silver: Table, held: Hold) -> str:
    """Why a scope is held, from the commit that says so; empty where the log no longer has it."""
    try:
        (commit,) = silver.commits(held.version, held.version)
    except FileNotFoundError:
        return ""
    return str(json.loads(commit.info.get(_HELD, "{}")).get(str(held.scope), ""))


def judged_through(files: pl.DataFrame, scopes: Iterable[Key]) -> dict[Key, int]:
    """The last Bronze batch of each scope in some files."""
    return {
        scope: _newest(
            files.join(frame_of([scope]), on=specs.KEYS, how="semi")
            if scope.date is not None
            else files.filter(pl.col("region") == scope.region)
        )
        for scope in scopes
    }


def open_regions(silver: Table, files: pl.DataFrame) -> list[Hold]:
    """Breakers that are open and have rows waiting in some files."""
    waiting = {region_of(key) for key in keys_of(files.select(specs.KEYS))}
    return [held for scope, held in holds(silver.cursors()).items() if scope.date is None and scope in waiting]


def _newest(files: pl.DataFrame) -> int:
    newest = files["max._batch_id"].max()
    assert isinstance(newest, int)
    return newest
