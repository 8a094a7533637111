"""Checks of a Silver table that its own run evaluates, on what it has just published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from dagster_project.contract.model import RESERVED_PREFIX, Dataset
from dagster_project.lake import specs as tables
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.table import Table
from dagster_project.naming import check_name
from dagster_project.refine.holds import holds
from dagster_project.refine.late import HORIZON
from dagster_project.refine.merge import doubled_keys
from dagster_project.refine.probe import reasons
from dagster_project.refine.silver import Refined
from dagster_project.refine.watermarks import watermarks

UNIQUE, PASS_RATE, GATE, EVENT_TIME = "merge_key_unique", "rule_pass_rate", "gate", "event_time"
# Rows of the sample in the UI: enough to see the shape of the data, little enough to store with each run.
_SAMPLE_ROWS = 5
_SAMPLE_CHARACTERS = 60


def specs(dataset: Dataset, asset: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """What every Silver run is checked for."""
    key = ", ".join(name.removeprefix(RESERVED_PREFIX) for name in dataset.identity)
    return [
        dg.AssetCheckSpec(UNIQUE, asset=asset, description=f"No two rows are the same one, by {key}."),
        dg.AssetCheckSpec(
            PASS_RATE,
            asset=asset,
            description=f"At most {dataset.max_bad_rate:.1%} of the rows that were read broke a row rule.",
        ),
        dg.AssetCheckSpec(
            EVENT_TIME,
            asset=asset,
            description=f"No region is further than {dataset.idle_after} behind the others, and no row is beyond the "
            f"lateness horizon ({dataset.lateness_horizon or 'none'}).",
        ),
        *(
            dg.AssetCheckSpec(
                check_name(GATE, region),
                asset=asset,
                description=f"Nothing of {region} is held back: its breaker is closed, and no table rule is broken.",
            )
            for region in dataset.regions
        ),
    ]


def results(
    dataset: Dataset, table: Table | None, commits: Sequence[Refined], asset: dg.AssetKey
) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the checks on the table partitions that these commits touched."""
    touched = {key for commit in commits for key in (*commit.read, *commit.written)}
    doubles = 0 if table is None else _doubled_keys(dataset, table, touched)
    yield dg.AssetCheckResult(
        check_name=UNIQUE,
        asset_key=asset,
        passed=doubles == 0,
        metadata={"doubled_keys": doubles, "table_partitions": len(touched)},
    )
    read = sum(sum(commit.read.values()) for commit in commits)
    bad = sum(commit.quarantined - commit.reasons.get(HORIZON, 0) for commit in commits)
    rate = bad / read if read else 0.0
    yield dg.AssetCheckResult(
        check_name=PASS_RATE,
        asset_key=asset,
        passed=rate <= dataset.max_bad_rate,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"rows_read": read, "rows_quarantined": bad, "pass_rate": 1 - rate},
    )
    yield _event_time(dataset, table, commits, asset)
    yield from _gate(dataset, table, asset)


def _event_time(
    dataset: Dataset, table: Table | None, commits: Sequence[Refined], asset: dg.AssetKey
) -> dg.AssetCheckResult:
    """Regions that nobody waits for, as the table stands, and rows beyond the horizon, of those that were read."""
    found = {} if table is None else watermarks(dataset, table)
    silent = {region: str(watermark.at) for region, watermark in found.items() if watermark.silent}
    beyond = sum(commit.beyond for commit in commits)
    return dg.AssetCheckResult(
        check_name=EVENT_TIME,
        asset_key=asset,
        passed=not silent and not beyond,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"silent_since": dg.MetadataValue.json(silent), "rows_beyond_horizon": beyond},
    )


def _gate(dataset: Dataset, table: Table | None, asset: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
    """By region, what is held back as the table stands, whether or not this run has looked at it."""
    held = {} if table is None else holds(table.cursors())
    for region in dataset.regions:
        own = [hold for scope, hold in held.items() if scope.region == region]
        facts = {
            str(hold.scope): {
                "why": "" if table is None else reasons(table, hold),
                "since": _moment(hold.since_ms),
                "judged_again": _moment(hold.retry_ms),
            }
            for hold in own
        }
        yield dg.AssetCheckResult(
            check_name=check_name(GATE, region),
            asset_key=asset,
            passed=not own,
            severity=dg.AssetCheckSeverity.ERROR,
            metadata={
                "breaker": "open" if any(hold.scope.date is None for hold in own) else "closed",
                "held": dg.MetadataValue.json(facts),
            },
        )


def _moment(epoch_ms: int) -> str:
    return dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC).isoformat(timespec="seconds")


def as_evaluation(result: dg.AssetCheckResult) -> dg.AssetCheckEvaluation:
    """A result as the event that Dagster stores, for runs that are not the asset's own."""
    assert result.asset_key is not None
    assert result.check_name is not None
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        severity=result.severity,
        metadata=result.metadata,
    )


def _doubled_keys(dataset: Dataset, table: Table, keys: Iterable[Key]) -> int:
    """Where a key may move between table partitions, the whole table is looked at."""
    files = table.files()
    if dataset.stable_partitions:
        files = files.join(frame_of(keys), on=tables.KEYS, how="semi", nulls_equal=True)
    return doubled_keys(dataset, table, files)


def sample(dataset: Dataset, table: Table, keys: Sequence[Key]) -> dg.MetadataValue:
    """Some rows of one touched table partition, without confidential columns."""
    open_columns = [column.name for column in dataset.columns if not column.protection]
    files = table.files().join(frame_of(keys[-1:]), on=tables.KEYS, how="semi", nulls_equal=True)
    rows = table.rows(files).select(open_columns).head(_SAMPLE_ROWS).collect()
    records = [
        dg.TableRecord({name: None if value is None else _short(str(value)) for name, value in row.items()})
        for row in rows.iter_rows(named=True)
    ]
    schema = dg.TableSchema(columns=[dg.TableColumn(name) for name in open_columns])
    return dg.MetadataValue.table(records=records, schema=schema)


def _short(text: str) -> str:
    return text if len(text) <= _SAMPLE_CHARACTERS else text[:_SAMPLE_CHARACTERS] + "…"
