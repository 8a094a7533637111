"""The quality gate: which rows of a staged frame break which rules, judged before anything is committed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import polars as pl

from dagster_project.contract.model import Dataset, SqlRule
from dagster_project.errors import ContractError
from dagster_project.lake.sandbox import only, visited
from dagster_project.quality.rules import compile_rules


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The gate's answer.

    Attributes:
        good: rows that may be published.
        bad: rows that may not, with `_reasons`, the names of all rules that they break.
        warnings: by rule, rows that break a rule of severity warning; they are published all the same.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    warnings: dict[str, int]


def judge(dataset: Dataset, frame: pl.DataFrame) -> Verdict:
    """Judge a frame with the contract's columns; tombstones have no values to judge and pass.

    Raises:
        ContractError: an SQL rule of the contract cannot be run.
    """
    rules = compile_rules(dataset.columns)
    sql = _broken(dataset.rules, frame, secret=bool(dataset.protected))
    marks = frame.select(
        *(rule.broken.fill_null(False).alias(rule.name) for rule in rules),
        *(sql[rule.id].alias(rule.id) for rule in dataset.rules if rule.severity == "error"),
    )
    if "_deleted" in frame.columns:
        marks = marks.with_columns(pl.all() & ~frame["_deleted"])
        sql = {name: broken & ~frame["_deleted"] for name, broken in sql.items()}
    broken = (
        marks.select(pl.any_horizontal(pl.all())).to_series()
        if marks.width
        else pl.repeat(False, len(frame), eager=True)
    )
    broken_marks = marks.filter(broken) if broken.any() else marks.clear()
    reasons = [[name for name, value in row.items() if value] for row in broken_marks.iter_rows(named=True)]
    return Verdict(
        good=frame.filter(~broken),
        bad=frame.filter(broken).with_columns(pl.Series("_reasons", reasons, pl.List(pl.String))),
        warnings={rule.id: int(sql[rule.id].sum()) for rule in dataset.rules if rule.severity == "warning"},
    )


def _broken(rules: Sequence[SqlRule], frame: pl.DataFrame, *, secret: bool) -> dict[str, pl.Series]:
    """By rule, the rows that break it, in order; `secret` keeps their values out of errors."""
    if not rules:
        return {}
    # A column that no rule spells out is in none; to hand all over would cost more than to judge.
    spelled = " ".join(rule.predicate for rule in rules).lower()
    staged = frame.select(name for name in frame.columns if name.lower() in spelled)
    with visited() as connection:
        connection.register("staged", staged.with_row_index("_row").to_arrow())
        broken: dict[str, pl.Series] = {}
        for rule in rules:
            try:
                relation = connection.sql(
                    only(connection, f"SELECT _row, ({rule.predicate}\n) IS NOT TRUE AS broken FROM staged")
                )
                judged = pl.DataFrame(relation.to_arrow_table())
                # DuckDB keeps the order of rows, but for predicates with windows or subqueries; to sort costs as much again.
                broken[rule.id] = (judged if judged["_row"].is_sorted() else judged.sort("_row"))["broken"]
            except duckdb.Error as error:
                # Of SQL that is wrong in itself DuckDB says what; of a value that it cannot work with it says the value.
                own = isinstance(error, (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException))
                told = str(error) if own or not secret else f"{type(error).__name__}, and the value is confidential"
                raise ContractError(
                    f"rule {rule.id!r}: {rule.predicate}: {told}",
                    expected="an SQL predicate over the contract's columns",
                    remedy="mend the rule in the contract",
                ) from (None if secret else error)
        return broken
