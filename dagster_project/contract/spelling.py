"""How Spark spells what DuckDB's SQL says, where sqlglot's own spelling would mean something else."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from sqlglot import exp, parse_one

from dagster_project.contract.portable import INTEGERS, UntranslatableError, check_written, is_of, name_of

# From where DuckDB counts buckets of minutes and hours: 2000-01-03, in microseconds since the epoch.
_ORIGIN_US = 946_857_600_000_000
_UNITS_US = {"SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": 86_400_000_000}
# What DuckDB's `date_trunc` and Spark's call alike.
_TRUNCATED = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"})


def respelled(node: exp.Expr) -> exp.Expr:
    """One node of a checked tree, as Spark says it."""
    if isinstance(node, exp.Window) and isinstance(node.this, exp.Filter):
        # Spark filters no aggregate over a window; what is null counts in none.
        inner = node.this.this
        value = exp.Literal.number(1) if isinstance(inner.this, exp.Star) else inner.this
        kept = exp.case().when(node.this.expression.this.copy(), value.copy())
        inner.set("this", kept)
        node.set("this", inner)
        return node
    if isinstance(node, exp.Table) and isinstance(node.this, exp.GenerateSeries):
        return _series(node)
    if isinstance(node, exp.Div):
        # Of decimals Spark makes decimals.
        for side in ("this", "expression"):
            node.set(side, exp.cast(node.args[side], "DOUBLE"))
        return node
    made = _REWRITES.get(name_of(node)) if isinstance(node, exp.Func) else None
    return node if made is None else made(node)


def _sql(text: str, **parts: exp.Expr) -> exp.Expr:
    """An expression of Spark with others in it, for what sqlglot has no class for."""
    return exp.replace_placeholders(parse_one(text, dialect="spark"), **parts)


def _concat(node: exp.Expr) -> exp.Expr:
    """Null is nothing in DuckDB's, and makes all null in Spark's."""
    check_written(node.expressions)
    parts = [
        part.copy() if isinstance(part, exp.Literal) else _sql("COALESCE(CAST(:x AS STRING), '')", x=_child(part))
        for part in node.expressions
    ]
    return exp.Anonymous(this="CONCAT", expressions=parts)


def _child(node: exp.Expr) -> exp.Expr:
    """A part of what is rewritten, itself rewritten: the walk does not come to what has been put in the place of a node."""
    return node.copy().transform(respelled)


def _bucket(node: exp.Expr) -> exp.Expr:
    step = node.this
    unit = step.text("unit").upper()
    if unit not in _UNITS_US or node.args.get("zone"):
        raise UntranslatableError(f"has buckets of another kind than seconds to days: {node.sql('duckdb')}")
    width = int(step.name) * _UNITS_US[unit]
    moment = "UNIX_MICROS(:x)"
    return _sql(f"TIMESTAMP_MICROS({moment} - PMOD({moment} - {_ORIGIN_US}, {width}))", x=_child(node.expression))


def _mean(node: exp.Expr) -> exp.Expr:
    return _sql("AVG(CAST(:x AS DOUBLE))", x=_child(node.this))


def _edge(node: exp.Expr) -> exp.Expr:
    """So many characters of a text's beginning or end; below zero DuckDB counts from the other side."""
    if not isinstance(node.expression, exp.Literal) or not node.expression.is_int or int(node.expression.name) < 1:
        raise UntranslatableError(f"takes another number of characters than a plain one: {node.sql('duckdb')}")
    return node


def _end(node: exp.Expr) -> exp.Expr:
    """The first or the last row's value: in Spark that of the least or greatest of what it is ordered by, nulls last."""
    order = node.this
    if not isinstance(order, exp.Order) or any(item.args.get("desc") for item in order.expressions):
        raise UntranslatableError(f"takes any value, or that of a descending order: {node.sql('duckdb')}")
    places = [part for item in order.expressions for part in (item.this.is_(exp.null()), item.this)]
    by = exp.Anonymous(this="STRUCT", expressions=[_child(place) for place in places])
    called = "MIN_BY" if isinstance(node, exp.First) else "MAX_BY"
    return exp.Anonymous(this=called, expressions=[_child(order.this), by])


def _formatted(node: exp.Expr) -> exp.Expr:
    pattern = node.this.name if isinstance(node.this, exp.Literal) else ""
    spelled, count = re.subn(r"\{(?::(0\d+)d)?\}", lambda hole: f"%{hole[1]}d" if hole[1] else "%s", pattern)
    if count != len(node.expressions) or "%" in pattern or "{" in spelled:
        raise UntranslatableError(f"has a format beyond {{}} and {{:04d}}: {node.sql('duckdb')}")
    check_written(node.expressions)
    parts = [exp.Literal.string(spelled), *map(_child, node.expressions)]
    return exp.Anonymous(this="FORMAT_STRING", expressions=parts)


def _sum_of_list(node: exp.Expr) -> exp.Expr:
    # Of no element null, of null elements the others: as DuckDB. What is no integer Spark refuses, as types differ.
    (values,) = node.expressions
    return _sql(
        "AGGREGATE(:x, CAST(NULL AS BIGINT), (total, value) -> COALESCE(total + value, total, CAST(value AS BIGINT)))",
        x=_child(values),
    )


def _truncated(node: exp.Expr) -> exp.Expr:
    if node.text("unit").upper() not in _TRUNCATED:
        raise UntranslatableError(f"cuts off at another unit than a second to a year: {node.sql('duckdb')}")
    return node


def _extracted(node: exp.Expr) -> exp.Expr:
    part = node.this.name.upper()
    if part not in {"YEAR", "QUARTER", "MONTH", "DAY", "HOUR", "MINUTE"}:
        raise UntranslatableError(f"takes another part than a minute to a year: {node.sql('duckdb')}")
    return _sql(f"{part}(:x)", x=_child(node.expression))


def _percentile(node: exp.Expr) -> exp.Expr:
    if not is_of(node.this.type, *INTEGERS, "DOUBLE"):
        # Between two decimals DuckDB finds a decimal, Spark a double.
        raise UntranslatableError(f"has a quantile of what is no integer and no double: {node.sql('duckdb')}")
    return _sql("PERCENTILE(:x, :share)", x=_child(node.this), share=node.expression)


def _series(table: exp.Expr) -> exp.Expr:
    """A series as a table: the days of a calendar, the numbers of products."""
    series, alias = table.this, table.args["alias"]
    start, end, step = series.args["start"], series.args["end"], series.args.get("step")
    if series.args.get("is_end_exclusive"):
        if not isinstance(end, exp.Literal) or step is not None:
            raise UntranslatableError(f"counts to what is no plain number: {series.sql('duckdb')}")
        start, end = (_sql(f"CAST({part.name} AS BIGINT)") for part in (start, exp.Literal.number(int(end.name) - 1)))
    parts = ", ".join(part.sql("spark") for part in (start, end, step) if part is not None)
    columns = alias.columns
    if len(columns) != 1:
        raise UntranslatableError(f"does not name the column of a series: {table.sql('duckdb')}")
    made = exp.select(_sql(f"EXPLODE(SEQUENCE({parts}))").as_(columns[0].name))
    return made.subquery(alias.name)


def _window_state(node: exp.Expr) -> exp.Expr:
    end, mark, late = map(_child, node.expressions)
    return _sql(
        "CASE WHEN :mark >= :end AND :late > 0 THEN 'restated' WHEN :mark >= :end THEN 'closed' ELSE 'open' END",
        mark=mark,
        end=end,
        late=late,
    )


_REWRITES: Mapping[str, Callable[[exp.Expr], exp.Expr]] = {
    "avg": _mean,
    "concat": _concat,
    "datebin": _bucket,
    "dayofweekiso": lambda node: _sql("WEEKDAY(:x) + 1", x=_child(node.this)),
    "epoch_us": lambda node: _sql("UNIX_MICROS(:x)", x=_child(node.expressions[0])),
    "extract": _extracted,
    "first": _end,
    "format": _formatted,
    "isoyear": lambda node: _sql("EXTRACT(YEAROFWEEK FROM :x)", x=_child(node.expressions[0])),
    "last": _end,
    "left": _edge,
    "list_sum": _sum_of_list,
    "percentilecont": _percentile,
    "right": _edge,
    "timestamptrunc": _truncated,
    "week": lambda node: _sql("WEEKOFYEAR(:x)", x=_child(node.this)),
    "window_state": _window_state,
}
