"""Which SQL of DuckDB is known to mean the same in Spark.

A list of what is allowed, not of what is forbidden: an engine that silently means something else by a name would publish
other figures. Each name here has an example in `tests/parity/examples.py` that both engines are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sqlglot import exp

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
    *("avg", "first", "last", "percentilecont", "generateseries", "window_state"),
    *("cast", "concat", "format", "left", "right", "list_sum"),
    *("datebin", "timestamptrunc", "extract", "epoch_us", "isoyear", "week", "dayofweekiso"),
}
KNOWN = _SAME | _SPELLED
INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT")
_EXACT = (*INTEGERS, "DECIMAL")
_MOMENTS = ("TIMESTAMP", "TIMESTAMPTZ")
# What both engines write into a string alike; a timestamp, a double or a list is not among them.
_WRITTEN_ALIKE = ("VARCHAR", "TEXT", "CHAR", "DATE", *INTEGERS)
# By type, the types of which both make the same value of it. DuckDB rounds to integers, Spark cuts off; text they read by
# rules of their own.
_CASTS = {
    **dict.fromkeys(INTEGERS, INTEGERS),
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


class UntranslatableError(Exception):
    """A construct that is not known to mean the same in Spark; says which."""


def name_of(node: exp.Expr) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else type(node).__name__).lower()


def _is_castable(node: exp.Cast) -> bool:
    target = node.args["to"].this.name
    if node.this.is_int or is_of(node.this.type, *_CASTS.get(target, ())):
        return True
    # Of what is computed from moments sqlglot does not always tell the type; what is text, it does.
    return target in {"DATE", *_MOMENTS} and (node.this.is_string or is_of(node.this.type, "UNKNOWN"))


def _is_written_alike(part: exp.Expr) -> bool:
    return isinstance(part, exp.Literal) or is_of(part.type, *_WRITTEN_ALIKE) or name_of(part) == "epoch_us"


def is_of(data_type: exp.DataType | None, *names: str) -> bool:
    return data_type is not None and data_type.this.name in names


# The only aggregates whose rows have an order.
_ENDS = ("first", "last")
_DIFFERENT: Mapping[str, Callable[[exp.Expr], bool]] = {
    "calls what is not known to mean the same there": lambda node: (
        isinstance(node, exp.Func) and name_of(node) not in KNOWN
    ),
    "has what engines do differently": lambda node: isinstance(node, _REFUSED),
    "takes one row of several": lambda node: isinstance(node, exp.Distinct) and bool(node.args.get("on")),
    "joins otherwise than by a condition": lambda node: (
        isinstance(node, exp.Join) and (node.args.get("method") or "") not in {"", "CROSS"}
    ),
    "is recursive": lambda node: isinstance(node, exp.With) and bool(node.args.get("recursive")),
    "orders the rows of an aggregate": lambda node: (
        isinstance(node, exp.AggFunc) and isinstance(node.this, exp.Order) and name_of(node) not in _ENDS
    ),
    "takes an element of a list, which engines count differently": lambda node: (
        isinstance(node, exp.Bracket) and not all(part.is_string for part in node.expressions)
    ),
    "has a pattern that is no plain text": lambda node: (
        isinstance(node, exp.Like) and (not node.expression.is_string or "\\" in node.expression.name)
    ),
    "divides what is no integer without a remainder": lambda node: (
        isinstance(node, exp.IntDiv)
        and any(is_of(part.type, "DOUBLE", "FLOAT", "DECIMAL") for part in (node.this, node.expression))
    ),
    "writes a value into a string, which engines do differently": lambda node: (
        isinstance(node, exp.DPipe) and not all(map(_is_written_alike, (node.this, node.expression)))
    ),
    "makes another type in a way that engines do differently": lambda node: (
        isinstance(node, exp.Cast) and not _is_castable(node)
    ),
}


def check(node: exp.Expr) -> None:
    """Refuse what is not known to mean the same."""
    for words, holds in _DIFFERENT.items():
        if holds(node):
            raise UntranslatableError(f"{words}: {node.sql('duckdb').strip()}")


def check_written(parts: Sequence[exp.Expr]) -> None:
    """Refuse values that engines write into a string differently."""
    for part in parts:
        if not _is_written_alike(part):
            raise UntranslatableError(
                f"writes a value into a string, which engines do differently: {part.sql('duckdb')}"
            )
