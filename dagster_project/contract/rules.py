"""From the quality items of a contract to rules: of rows, written in SQL, and of table partitions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import polars as pl
from open_data_contract_standard.model import DataQuality, SchemaProperty

from dagster_project.contract.compiler import Compiler
from dagster_project.contract.document import Steps
from dagster_project.contract.model import Column, SqlRule
from dagster_project.contract.quality import OPERATORS, Bound, Metric, Scope, Statistic, TableRule, Value
from dagster_project.contract.statistics import compile_statistic

# Of a query, what stands for the table and for the property that it is written at.
_TABLE = re.compile(r"\$?\{(?:object|table)\}")
_COLUMN = re.compile(r"\$?\{(?:property|column)\}")
_METRICS = tuple(name for name in get_args(Metric) if name != "sql")
# Are about rows, not about the values of a property.
_OF_ROWS = ("rowCount", "sql")
_ARGUMENTS = {
    "missingValues": ("missingValues",),
    "invalidValues": ("validValues", "pattern"),
    "duplicateValues": ("properties",),
}
# What is missing where the contract does not say.
_MISSING: tuple[Value, ...] = (None, "")


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules of a contract's quality items, by what they judge."""

    rows: tuple[SqlRule, ...]
    tables: tuple[TableRule, ...]
    statistics: tuple[Statistic, ...]


def compile_rules(compiler: Compiler, columns: Sequence[Column], *, scopes: Sequence[Scope] = ("partition",)) -> Rules:
    """The rules of a contract's quality items, those of the table and those of its properties.

    Args:
        scopes: what a table rule of this contract may measure.
    """
    # Rows are judged in the clear, table partitions as Silver has them.
    known = {column.name: column for column in columns if column.protection != "drop"}
    row_rules: list[SqlRule] = []
    table_rules: list[TableRule] = []
    statistics: list[Statistic] = []
    for path, item, column in _items(compiler):
        if not item.id:
            compiler.problem(path, "a rule without id", "id: …, by which it is named where it is broken")
        elif item.id in {rule.id for rule in (*row_rules, *table_rules, *statistics)}:
            compiler.problem(path, f"a second rule {item.id!r}", "another id: quarantine and checks name rules by it")
        elif item.type == "custom" and item.engine == "platform" and isinstance(item.implementation, dict):
            statistics += compile_statistic(compiler, path, item, known)
        elif item.type == "custom":
            row_rules += _row_rule(compiler, path, item)
        elif item.type in (None, "library", "sql"):
            table_rules += _table_rule(compiler, path, item, column, known, scopes=scopes)
        else:
            compiler.problem(path, f"a rule of type {item.type!r}", "type: library, sql or custom")
    none = Bound(operator="mustBe", values=(0.0,))
    table_rules += (
        TableRule(id=f"{item.name}.unique", metric="duplicateValues", bound=none, columns=(item.name or "",))
        for item in compiler.table.properties or ()
        if item.unique and _is_there(compiler, item, known)
    )
    return Rules(rows=tuple(row_rules), tables=tuple(table_rules), statistics=tuple(statistics))


def _is_there(compiler: Compiler, item: SchemaProperty, known: Mapping[str, Column]) -> bool:
    if item.name not in known:
        compiler.problem(("schema", 0, "properties"), f"{item.name!r} is unique and dropped", "one of the two")
    return item.name in known


def _items(compiler: Compiler) -> Iterator[tuple[Steps, DataQuality, str | None]]:
    for index, item in enumerate(compiler.table.quality or ()):
        yield ("schema", 0, "quality", index), item, None
    for place, column in enumerate(compiler.table.properties or ()):
        for index, item in enumerate(column.quality or ()):
            yield ("schema", 0, "properties", place, "quality", index), item, column.name


def _row_rule(compiler: Compiler, path: Steps, item: DataQuality) -> Iterator[SqlRule]:
    if item.engine != "platform" or not isinstance(item.implementation, str):
        found = f"a custom rule of engine {item.engine!r}"
        compiler.problem(path, found, "type: custom, engine: platform, implementation: <SQL predicate>")
        return
    yield SqlRule(
        id=item.id or "",
        predicate=item.implementation,
        severity="warning" if item.severity == "warning" else "error",
    )


def _table_rule(
    compiler: Compiler,
    path: Steps,
    item: DataQuality,
    column: str | None,
    known: Mapping[str, Column],
    *,
    scopes: Sequence[Scope],
) -> Iterator[TableRule]:
    metric = "sql" if item.type == "sql" else item.metric or ""
    arguments: dict[str, Any] = dict(item.arguments or {})
    columns = tuple(arguments.get("properties", ())) or ((column,) if column else ())
    columns = () if metric in _OF_ROWS else columns
    bound = _bound(compiler, path, item)
    scope = compiler.custom(item.customProperties, path, ("scope",)).get("scope", scopes[0])
    if scope not in scopes:
        compiler.problem((*path, "customProperties"), f"scope {scope!r}", "one of " + ", ".join(scopes))
    if problem := _problem(item, metric, arguments, [known.get(name) for name in columns]):
        compiler.problem(path, *problem)
    elif bound is not None:
        missing = metric == "missingValues"
        yield TableRule(
            id=item.id or "",
            metric=cast("Metric", metric),
            bound=bound,
            columns=columns,
            values=tuple(arguments.get(*("missingValues", _MISSING) if missing else ("validValues", ()))),
            pattern=arguments.get("pattern"),
            query=_COLUMN.sub(f'"{column}"' if column else "", _TABLE.sub("staged", item.query or "")),
            percent=item.unit == "percent",
            scope=scope,
            severity="warning" if item.severity == "warning" else "error",
        )


def _problem(
    item: DataQuality, metric: str, arguments: Mapping[str, Any], columns: Sequence[Column | None]
) -> tuple[str, str] | None:
    """What is wrong with a rule, and what to write instead."""
    if metric not in get_args(Metric):
        return f"metric {metric!r}", "one of " + ", ".join(_METRICS)
    allowed = _ARGUMENTS.get(metric, ())
    if unknown := sorted(arguments.keys() - {*allowed}):
        return f"argument {unknown[0]!r} of {metric}", "arguments of it: " + (", ".join(allowed) or "none")
    if metric in _OF_ROWS:
        return (f"{metric} in percent", "unit: rows") if item.unit == "percent" else None
    found = [column for column in columns if column is not None]
    if metric in ("missingValues", "invalidValues") and any(column.protection for column in found):
        expected = "a bound of the property, or an SQL predicate: rows are judged in the clear"
        return f"{metric} of {found[0].name}, which Silver has as a pseudonym", expected
    if not columns or len(found) < len(columns):
        return (
            f"{metric} of a property that is not there",
            "a rule at the property, or of duplicateValues arguments: {properties: [<names>]}",
        )
    if metric == "invalidValues" and not arguments:
        return "invalidValues without arguments", "arguments: {validValues: […]} or {pattern: …}"
    if "pattern" in arguments and not _is_pattern(arguments["pattern"], found[0]):
        return f"pattern {arguments['pattern']!r}", "a regular expression without look-around, on a string property"
    return None


def _bound(compiler: Compiler, path: Steps, item: DataQuality) -> Bound | None:
    found = [(name, value) for name in OPERATORS if (value := getattr(item, name)) is not None]
    if len(found) == 1:
        operator, value = found[0]
        values = cast("list[Any]", value) if isinstance(value, list) else [value]
        if all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in values):
            return Bound(operator=operator, values=tuple(map(float, values)))
    compiler.problem(path, "no bound", "one of " + ", ".join(OPERATORS) + ", with a number")
    return None


def _is_pattern(pattern: object, column: Column) -> bool:
    if not isinstance(pattern, str) or column.type.kind != "string":
        return False
    try:
        pl.Series([""]).str.contains(pattern)
    except pl.exceptions.ComputeError:
        return False
    return True
