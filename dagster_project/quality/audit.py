"""The audit of a table partition before it is published: what the contract's table rules measure, and what it must be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import duckdb
import polars as pl

from dagster_project.contract.quality import Severity, TableRule
from dagster_project.errors import ContractError
from dagster_project.lake.sandbox import only, visited

_NOTHING: Mapping[str, pl.LazyFrame] = {}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A table rule that a table partition breaks."""

    rule: str
    severity: Severity
    found: float
    expected: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.found:g}, must be {self.expected}"


def audit(
    rules: Sequence[TableRule], staged: pl.LazyFrame, *, inputs: Mapping[str, pl.LazyFrame] = _NOTHING
) -> list[Finding]:
    """Measure a table partition as it would be published; rows that are deleted are not in it.

    Args:
        inputs: what SQL rules may name besides it, such as `silver.payments`.

    Raises:
        ContractError: an SQL rule cannot be run, or yields no number.
    """
    rows = pl.len().cast(pl.Float64)
    measures = {
        rule.id: (_measure(rule) * 100 / rows).fill_nan(0.0) if rule.percent else _measure(rule)
        for rule in rules
        if rule.metric != "sql"
    }
    found = staged.select(**measures).collect(engine="in-memory").row(0, named=True) if measures else {}
    found |= dict(_queried([rule for rule in rules if rule.metric == "sql"], staged, inputs))
    return [
        Finding(rule=rule.id, severity=rule.severity, found=found[rule.id], expected=f"{rule.bound}{_unit(rule)}")
        for rule in rules
        if not rule.bound.holds(found[rule.id])
    ]


def _measure(rule: TableRule) -> pl.Expr:
    """How many rows the rule is about."""
    values = [value for value in rule.values if value is not None]
    match rule.metric:
        case "rowCount":
            counted = pl.len()
        case "nullValues":
            counted = pl.any_horizontal(pl.col(name).is_null() for name in rule.columns).sum()
        case "missingValues":
            counted = (pl.col(rule.columns[0]).is_in(values) | pl.lit(value=False)).fill_null(None in rule.values).sum()
        case "invalidValues":
            value = pl.col(rule.columns[0])
            valid = [value.is_in(values)] if values else []
            valid += [value.str.contains(rule.pattern)] if rule.pattern is not None else []
            counted = (~pl.all_horizontal(valid)).sum()
        case "duplicateValues":
            # As in SQL, null is equal to nothing.
            whole = pl.all_horizontal(pl.col(name).is_not_null() for name in rule.columns)
            key = pl.struct(rule.columns).filter(whole)
            counted = key.len() - key.n_unique()
        case "sql":
            raise AssertionError("a query is run, not measured")
    return counted.cast(pl.Float64)


def _queried(
    rules: Sequence[TableRule], staged: pl.LazyFrame, inputs: Mapping[str, pl.LazyFrame]
) -> Iterator[tuple[str, float]]:
    if not rules:
        return
    with visited() as connection:
        connection.register("staged", staged)
        for number, (name, frame) in enumerate(inputs.items()):
            schema, _, table = name.partition(".")
            connection.register(f"_{number}", frame)
            connection.execute(
                f'CREATE SCHEMA IF NOT EXISTS {schema}; CREATE VIEW {schema}."{table}" AS FROM "_{number}"'
            )
        for rule in rules:
            try:
                rows = connection.execute(only(connection, rule.query)).fetchall()
            except duckdb.Error as error:
                raise _refuse(rule, str(error)) from error
            if len(rows) != 1 or len(rows[0]) != 1 or not isinstance(rows[0][0], (int, float, Decimal)):
                raise _refuse(rule, f"yields {rows[:1]}")
            yield rule.id, float(rows[0][0])


def _refuse(rule: TableRule, found: str) -> ContractError:
    return ContractError(
        f"rule {rule.id!r}: {rule.query}: {found}",
        expected="a query over {object} that yields one number",
        remedy="mend the rule in the contract",
    )


def _unit(rule: TableRule) -> str:
    return " percent" if rule.percent else ""
