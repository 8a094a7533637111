"""Hot keys that a contract declares, salted where a mart joins by them: no task of Spark's has more than its share of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlglot import exp, parse_one

from dagster_project.contract.model import HotKeys

_SALT = "__salt"


@dataclass(frozen=True, kw_only=True)
class Hot:
    """Hot keys of a table; `row` are the columns that tell its rows apart, by which they are spread."""

    keys: HotKeys
    row: tuple[str, ...]


def salt_joins(tree: exp.Expr, hot: Mapping[str, Hot]) -> None:
    """Give a salt to rows with a hot key, and as many copies to the rows that they are joined with.

    Args:
        tree: every column has its table.
        hot: by layer and table, such as `silver.page_views`.
    """
    for join in list(tree.find_all(exp.Join)):
        # A copy that finds no row of its salt would be a row of its own, if rows of the other side were all to stay.
        if join.side not in {"", "LEFT"} or join.kind not in {"", "INNER"} or join.args.get("on") is None:
            continue
        for own, other in _equal(join):
            found = hot.get(_table_of(own, join))
            if found is not None and found.keys.column == own.name and found.keys.values:
                _salt(join, own, other, found)
                break


def _equal(join: exp.Join) -> Iterator[tuple[exp.Column, exp.Column]]:
    """Columns that must be the same: of what comes before the join, and of what is joined."""
    condition = join.args["on"]
    for part in condition.flatten() if isinstance(condition, exp.And) else [condition]:
        sides = (part.this, part.expression) if isinstance(part, exp.EQ) else ()
        for own, other in (sides, sides[::-1]) if sides else ():
            if isinstance(own, exp.Column) and isinstance(other, exp.Column) and other.table == join.alias_or_name:
                yield own, other


def _table_of(column: exp.Column, join: exp.Join) -> str:
    """The stored table that a column before a join is of; empty if it is of anything else."""
    select = join.parent
    if not isinstance(select, exp.Select):
        return ""
    sources = [select.args["from_"].this, *(other.this for other in select.args["joins"] if other is not join)]
    tables = (source for source in sources if isinstance(source, exp.Table) and source.alias_or_name == column.table)
    return next((f"{table.db}.{table.name}" for table in tables), "")


def _salt(join: exp.Join, own: exp.Column, other: exp.Column, hot: Hot) -> None:
    values = ", ".join(exp.Literal.string(value).sql("spark") for value in hot.keys.values)
    count = hot.keys.salts
    rows = ", ".join(exp.column(name, table=own.table, quoted=True).sql("spark") for name in hot.row)
    copies = (
        f"EXPLODE(CASE WHEN CAST({other.sql('spark')} AS STRING) IN ({values}) THEN SEQUENCE(0, {count - 1}) "
        f"ELSE ARRAY(0) END) AS {_SALT}"
    )
    salt = f"CASE WHEN CAST({own.sql('spark')} AS STRING) IN ({values}) THEN PMOD(HASH({rows}), {count}) ELSE 0 END"
    name = join.alias_or_name
    copied = exp.select("*", parse_one(copies, dialect="spark")).from_(join.this.copy()).subquery(name)
    join.set("this", copied)
    chosen = exp.EQ(this=exp.column(_SALT, table=name, quoted=True), expression=parse_one(salt, dialect="spark"))
    join.set("on", exp.and_(join.args["on"], chosen))
