"""From DuckDB's SQL to Spark's, of what is known to mean the same in both."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import ErrorLevel, exp, parse_one
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.transforms import eliminate_qualify

from dagster_project.contract.portable import check
from dagster_project.contract.salting import Hot, salt_joins
from dagster_project.contract.spark_sql import view_name
from dagster_project.contract.spelling import respelled


def translate(sql: str, schema: Mapping[str, object], hot: Mapping[str, Hot] | None = None) -> str:
    """The SQL for Spark.

    Args:
        schema: by layer, table and column, the types of DuckDB.
        hot: by layer and table, keys that have much of the rows.

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
        check(node)
    tree = tree.transform(respelled).transform(_without_qualify)
    salt_joins(tree, hot or {})
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


def _without_qualify(node: exp.Expr) -> exp.Expr:
    """A select whose rows are chosen by windows, as a select from one that has these as columns."""
    if not isinstance(node, exp.Select) or not node.args.get("qualify"):
        return node
    outer = eliminate_qualify(node)
    # What was qualified for the inner select has no other table here than that select itself.
    for column in outer.args["where"].find_all(exp.Column):
        column.set("table", None)
    return outer
