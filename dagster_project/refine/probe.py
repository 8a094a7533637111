"""Holding scopes back, and letting them go: what is committed of it, why, and whether a breaker closes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.quality.gate import judge
from dagster_project.refine.breaker import Tally
from dagster_project.refine.holds import Hold, fingerprint, freed, holds, region_of
from dagster_project.refine.payloads import stage
from dagster_project.refine.plan import pending_files, progress

# Of commits, where they say why a scope is held.
_HELD = "held"


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A scope that is held back.

    Attributes:
        breaker: it is a region whose breaker is open, not a table partition that breaks a table rule.
        rows: of Bronze, that wait.
    """

    scope: Key
    breaker: bool
    why: str
    rows: int
    since_ms: int
    retry_ms: int


def waiting(dataset: Dataset, *, storage: Storage) -> list[Waiting]:
    """All that the gate holds back."""
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    silver = Table.find(specs.silver(dataset), storage=storage)
    if bronze is None or silver is None:
        return []
    files = pending_files(dataset, bronze, progress(silver))
    return [
        Waiting(
            scope=scope,
            breaker=scope.date is None,
            why=reasons(silver, held),
            rows=int(_of(files, scope)["num_records"].sum()),
            since_ms=held.since_ms,
            retry_ms=held.retry_ms,
        )
        for scope, held in sorted(holds(silver.cursors()).items(), key=str)
    ]


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
    rows = stage(dataset, bronze, asked, silver).rows.filter(pl.col("_batch_id") > (-1 if whole else held.judged))
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
    return {scope: _newest(_of(files, scope)) for scope in scopes}


def open_regions(silver: Table, files: pl.DataFrame) -> list[Hold]:
    """Breakers that are open and have rows waiting in some files."""
    waiting = {region_of(key) for key in keys_of(files.select(specs.KEYS))}
    return [held for scope, held in holds(silver.cursors()).items() if scope.date is None and scope in waiting]


def _newest(files: pl.DataFrame) -> int:
    newest = files["max._batch_id"].max()
    assert isinstance(newest, int)
    return newest


def _of(files: pl.DataFrame, scope: Key) -> pl.DataFrame:
    """The files of a scope."""
    if scope.date is None:
        return files.filter(pl.col("region") == scope.region)
    return files.join(frame_of([scope]), on=specs.KEYS, how="semi")
