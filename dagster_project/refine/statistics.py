"""Statistical rules: a table partition, as it would be published, beside what is usual for it, or beside another dataset."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl

from dagster_project.contract.model import DATE_COLUMN, REGION_COLUMN, Dataset, table_of
from dagster_project.contract.quality import Statistic
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.releases import newest
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.quality.audit import Finding

# Weeks, or days, of history that a comparison needs: one may have been a holiday.
_HISTORY = 2


def compare(dataset: Dataset, key: Key, staged: pl.LazyFrame, *, silver: Table, storage: Storage) -> list[Finding]:
    """What of a table partition is not as usual, or not in the dataset that it refers to.

    Args:
        staged: the table partition as it would be.
    """
    found: list[Finding] = []
    for rule in dataset.statistics:
        match rule.kind:
            case "volume":
                found += _volume(dataset, rule, key, staged, silver)
            case "nullDrift":
                found += _drift(dataset, rule, key, staged, silver)
            case "references":
                found += _references(rule, staged, storage)
    return found


def _volume(dataset: Dataset, rule: Statistic, key: Key, staged: pl.LazyFrame, silver: Table) -> Iterator[Finding]:
    assert key.date is not None
    days = [key.date - dt.timedelta(weeks=week) for week in range(1, rule.back + 1)]
    usual = _before(silver, key, days).group_by(DATE_COLUMN).agg(pl.sum("num_records"))["num_records"]
    median = usual.median()
    if len(usual) < min(_HISTORY, rule.back) or not isinstance(median, float) or not median:
        return
    share = _rows(staged) / median
    if rule.at_most is not None and share > rule.at_most:
        yield _finding(rule, share, f"at most {rule.at_most:g} of the rows of other such weekdays")
    end = dt.datetime.combine(key.date + dt.timedelta(days=1), dt.time(), dt.UTC) + dataset.allowed_lateness
    if rule.at_least is not None and share < rule.at_least and dt.datetime.now(dt.UTC) >= end:
        yield _finding(rule, share, f"at least {rule.at_least:g} of the rows of other such weekdays")


def _drift(dataset: Dataset, rule: Statistic, key: Key, staged: pl.LazyFrame, silver: Table) -> Iterator[Finding]:
    assert key.date is not None
    assert rule.at_most is not None
    days = [key.date - dt.timedelta(days=day) for day in range(1, rule.back + 1)]
    files = _before(silver, key, days)
    rows, nulls = _nulls(staged, rule.column)
    past, usual = _nulls(silver.rows(files).filter(~pl.col("_deleted")), rule.column)
    # Shares of a few rows say nothing.
    enough = min(rows, past) >= dataset.breaker.min_rows
    if enough and files[DATE_COLUMN].n_unique() >= min(_HISTORY, rule.back):
        drift = abs(nulls / rows - usual / past)
        if drift > rule.at_most:
            yield _finding(rule, drift, f"at most {rule.at_most:g} from the share of nulls of the days before")


def _references(rule: Statistic, staged: pl.LazyFrame, storage: Storage) -> Iterator[Finding]:
    assert rule.at_most is not None
    values = staged.select(pl.col(rule.column)).drop_nulls().collect(engine="in-memory")
    if values.is_empty():
        return
    schema: dict[str, pl.DataType] = {rule.key: values.dtypes[0], "_deleted": pl.Boolean(), **specs.PARTITION}
    release = newest(rule.dataset, storage=storage)
    name = rule.dataset if release is None else table_of(rule.dataset, release.serves)
    other = Table.find(TableSpec(layer="silver", name=name, schema=schema, partition_by=specs.KEYS), storage=storage)
    there = pl.LazyFrame(schema=schema) if other is None else other.rows()
    keys = there.filter(~pl.col("_deleted")).select(pl.col(rule.key).unique())
    dangling = values.lazy().join(keys, left_on=rule.column, right_on=rule.key, how="anti")
    share = _rows(dangling) / len(values)
    if share > rule.at_most:
        yield _finding(rule, share, f"at most {rule.at_most:g} of values that silver.{rule.dataset} does not have")


def _before(silver: Table, key: Key, days: list[dt.date]) -> pl.DataFrame:
    """Files of the same region on other days."""
    return silver.files().filter(pl.col(DATE_COLUMN).is_in(days), pl.col(REGION_COLUMN) == key.region)


def _nulls(rows: pl.LazyFrame, column: str) -> tuple[int, int]:
    found = rows.select(pl.len().alias("rows"), pl.col(column).null_count().alias("nulls")).collect(engine="in-memory")
    return found.row(0)


def _rows(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect(engine="in-memory").item())


def _finding(rule: Statistic, found: float, expected: str) -> Finding:
    return Finding(rule=rule.id, severity=rule.severity, found=round(found, 4), expected=expected)
