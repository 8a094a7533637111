"""From DuckDB's SQL to Spark's, of what is known to mean the same in both.

A list of what is allowed, not of what is forbidden: an engine that silently means something else by a name would publish
other figures. Each name here has an example in `tests/parity/examples.py` that both engines are asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from sqlglot import ErrorLevel, exp, parse_one
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.transforms import eliminate_qualify

from dagster_project.contract.spark_sql import view_name

# As DuckDB names them, and sqlglot its classes.
_SAME = {
    # Aggregates and windows.
    *("count", "sum", "min", "max", "rownumber", "rank", "denserank", "lag", "lead"),
    # Values.
    *("and", "or", "case", "if", "coalesce", "nullif", "greatest", "least", "abs", "ceil", "floor"),
    *("length", "startswith", "md5", "replace", "year", "quarter", "month", "day", "lastday", "transform", "explode"),
}
# Those that are spelled otherwise, or are known in part.
_SPELLED = {
    *(
        "cast",
        "concat",
        "format",
        "datebin",
        "timestamptrunc",
        "extract",
        "epoch_us",
        "isoyear",
        "week",
        "dayofweekiso",
    ),
    *("left", "right", "avg", "first", "last", "list_sum", "percentilecont", "generateseries", "window_state"),
}
KNOWN = _SAME | _SPELLED
_INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")
_EXACT = (*_INTEGERS, "DECIMAL")
_MOMENTS = ("TIMESTAMP", "TIMESTAMPTZ")
# What both engines write into a string alike; a timestamp, a double or a list is not among them.
_WRITTEN_ALIKE = ("VARCHAR", "TEXT", "CHAR", "DATE", *_INTEGERS)
# By type, the types of which both make the same value of it. DuckDB rounds to integers, Spark cuts off; text they read by
# rules of their own.
_CASTS = {
    **dict.fromkeys(_INTEGERS, _INTEGERS),
    "DECIMAL": _EXACT,
    "DOUBLE": (*_EXACT, "FLOAT", "DOUBLE"),
    "VARCHAR": _WRITTEN_ALIKE,
    "TEXT": _WRITTEN_ALIKE,
    "DATE": ("DATE", *_MOMENTS),
    "TIMESTAMP": ("DATE", *_MOMENTS),
    "TIMESTAMPTZ": ("DATE", *_MOMENTS),
}
# What depends on the order of rows, on a locale, or is read by rules of an engine's own.
_REFUSED = (
    exp.Limit,
    exp.Offset,
    exp.TableSample,
    exp.Pivot,
    exp.AtTimeZone,
    exp.ILike,
    exp.IgnoreNulls,
    exp.SimilarTo,
)
# From where DuckDB counts buckets of minutes and hours: 2000-01-03, in microseconds since the epoch.
_ORIGIN_US = 946_857_600_000_000
_UNITS_US = {"SECOND": 1_000_000, "MINUTE": 60_000_000, "HOUR": 3_600_000_000, "DAY": 86_400_000_000}
# What DuckDB's `date_trunc` and Spark's call alike.
_TRUNCATED = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND"})


class UntranslatableError(Exception):
    """A construct that is not known to mean the same in Spark; says which."""


def translate(sql: str, schema: Mapping[str, object]) -> str:
    """The SQL for Spark.

    Args:
        schema: by layer, table and column, the types of DuckDB.

    Raises:
        UntranslatableError: something in it is not known to mean the same.
        SqlglotError: it cannot be read at all, or names a column that is not there.
    """
    # Every column with its table, no stars, every type known as far as it can be: nothing is left for Spark to resolve
    # otherwise than DuckDB.
    tree = annotate_types(
        qualify(parse_one(sql, dialect="duckdb"), schema=dict(schema), dialect="duckdb"), dict(schema)
    )
    _type_series(tree)
    for node in list(tree.walk()):
        _check(node)
    tree = tree.transform(_rewritten).transform(_without_qualify)
    for table in tree.find_all(exp.Table):
        if table.db:
            table.replace(_view(table))
    return tree.sql(dialect="spark", unsupported_level=ErrorLevel.RAISE, comments=False)


def _type_series(tree: exp.Expr) -> None:
    """Tell the types of columns that are series: sqlglot does not."""
    types = {
        table.alias: exp.DataType.build("DATE" if table.this.args.get("step") else "BIGINT")
        for table in tree.find_all(exp.Table)
        if isinstance(table.this, exp.GenerateSeries)
    }
    for column in tree.find_all(exp.Column):
        if column.table in types:
            column.type = types[column.table]


def _view(table: exp.Table) -> exp.Expr:
    view = exp.to_table(view_name(f"{table.db}.{table.name}"))
    view.set("alias", table.args.get("alias"))
    view.set("joins", table.args.get("joins"))
    return view


def _name(node: exp.Expr) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else type(node).__name__).lower()


def _check(node: exp.Expr) -> None:
    """Refuse what is not known to mean the same."""
    for words, holds in _DIFFERENT.items():
        if holds(node):
            raise UntranslatableError(f"{words}: {node.sql('duckdb').strip()}")


def _is_castable(node: exp.Cast) -> bool:
    target = node.args["to"].this.name
    if node.this.is_int or _is(node.this.type, *_CASTS.get(target, ())):
        return True
    # Of what is computed from moments sqlglot does not always tell the type; what is text, it does.
    return target in {"DATE", *_MOMENTS} and (node.this.is_string or _is(node.this.type, "UNKNOWN"))


def _is(data_type: exp.DataType | None, *names: str) -> bool:
    return data_type is not None and data_type.this.name in names


_ENDS = {"first": "MIN_BY", "last": "MAX_BY"}
_DIFFERENT: Mapping[str, Callable[[exp.Expr], bool]] = {
    "calls what is not known to mean the same there": lambda node: (
        isinstance(node, exp.Func) and _name(node) not in KNOWN
    ),
    "has what engines do differently": lambda node: isinstance(node, _REFUSED),
    "takes one row of several": lambda node: isinstance(node, exp.Distinct) and bool(node.args.get("on")),
    "joins otherwise than by a condition": lambda node: (
        isinstance(node, exp.Join) and (node.args.get("method") or "") not in {"", "CROSS"}
    ),
    "is recursive": lambda node: isinstance(node, exp.With) and bool(node.args.get("recursive")),
    "orders the rows of an aggregate": lambda node: (
        isinstance(node, exp.AggFunc) and isinstance(node.this, exp.Order) and _name(node) not in _ENDS
    ),
    "takes an element of a list, which engines count differently": lambda node: (
        isinstance(node, exp.Bracket) and not all(part.is_string for part in node.expressions)
    ),
    "has a pattern that is no plain text": lambda node: (
        isinstance(node, exp.Like) and (not node.expression.is_string or "\\" in node.expression.name)
    ),
    "divides what is no integer without a remainder": lambda node: (
        isinstance(node, exp.IntDiv)
        and any(_is(part.type, "DOUBLE", "FLOAT", "DECIMAL") for part in (node.this, node.expression))
    ),
    "makes another type in a way that engines do differently": lambda node: (
        isinstance(node, exp.Cast) and not _is_castable(node)
    ),
}


def _rewritten(node: exp.Expr) -> exp.Expr:
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
    made = _REWRITES.get(_name(node)) if isinstance(node, exp.Func) else None
    return node if made is None else made(node)


def _without_qualify(node: exp.Expr) -> exp.Expr:
    """A select whose rows are chosen by windows, as a select from one that has these as columns."""
    if not isinstance(node, exp.Select) or not node.args.get("qualify"):
        return node
    outer = eliminate_qualify(node)
    # What was qualified for the inner select has no other table here than that select itself.
    for column in outer.args["where"].find_all(exp.Column):
        column.set("table", None)
    return outer


def _sql(text: str, **parts: exp.Expr) -> exp.Expr:
    """An expression of Spark with others in it, for what sqlglot has no class for."""
    return exp.replace_placeholders(parse_one(text, dialect="spark"), **parts)


def _concat(node: exp.Expr) -> exp.Expr:
    """Null is nothing in DuckDB's, and makes all null in Spark's."""
    _check_written(node.expressions)
    parts = [
        part.copy() if isinstance(part, exp.Literal) else _sql("COALESCE(CAST(:x AS STRING), '')", x=_child(part))
        for part in node.expressions
    ]
    return exp.Anonymous(this="CONCAT", expressions=parts)


def _check_written(parts: Sequence[exp.Expr]) -> None:
    for part in parts:
        if not (isinstance(part, exp.Literal) or _is(part.type, *_WRITTEN_ALIKE) or _name(part) == "epoch_us"):
            raise UntranslatableError(
                f"writes a value into a string, which engines do differently: {part.sql('duckdb')}"
            )


def _child(node: exp.Expr) -> exp.Expr:
    """A part of what is rewritten, itself rewritten: the walk does not come to what has been put in the place of a node."""
    return node.copy().transform(_rewritten)


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
    if not node.expression.is_int or int(node.expression.name) < 1:
        raise UntranslatableError(f"takes another number of characters than a plain one: {node.sql('duckdb')}")
    return node


def _end(node: exp.Expr) -> exp.Expr:
    """The first or the last row's value: in Spark that of the least or greatest of what it is ordered by, nulls last."""
    order = node.this
    if not isinstance(order, exp.Order) or any(item.args.get("desc") for item in order.expressions):
        raise UntranslatableError(f"takes any value, or that of a descending order: {node.sql('duckdb')}")
    places = [part for item in order.expressions for part in (item.this.is_(exp.null()), item.this)]
    by = exp.Anonymous(this="STRUCT", expressions=[_child(place) for place in places])
    return exp.Anonymous(this=_ENDS[_name(node)], expressions=[_child(order.this), by])


def _formatted(node: exp.Expr) -> exp.Expr:
    pattern = node.this.name if isinstance(node.this, exp.Literal) else ""
    spelled, count = re.subn(r"\{(?::(0\d+)d)?\}", lambda hole: f"%{hole[1]}d" if hole[1] else "%s", pattern)
    if count != len(node.expressions) or "%" in pattern or "{" in spelled:
        raise UntranslatableError(f"has a format beyond {{}} and {{:04d}}: {node.sql('duckdb')}")
    _check_written(node.expressions)
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
    if not _is(node.this.type, *_INTEGERS, "DOUBLE"):
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
