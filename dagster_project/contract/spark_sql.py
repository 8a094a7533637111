"""A mart's SQL in the words of Spark, where it is known to mean the same there."""

from __future__ import annotations

from collections.abc import Iterator

from dagster_project.contract.lineage import sql_schema
from dagster_project.contract.model import Catalog, Mart
from dagster_project.errors import ContractError


def to_spark(mart: Mart, catalog: Catalog) -> str:
    """The SQL of a mart for Spark; a table `silver.orders` is a view `silver__orders` there.

    Raises:
        ContractError: it has something that is not known to mean the same in Spark.
    """
    # Take a third of a second to import, and few processes need them.
    from sqlglot.errors import SqlglotError

    from dagster_project.contract.portable import UntranslatableError
    from dagster_project.contract.salting import Hot
    from dagster_project.contract.translation import translate

    datasets = map(catalog.dataset, mart.datasets)
    hot = {f"silver.{one.name}": Hot(keys=one.hot_keys, row=one.merge_key) for one in datasets if one.hot_keys}
    try:
        return translate(mart.sql, sql_schema(mart, catalog), hot)
    except (SqlglotError, UntranslatableError) as error:
        raise ContractError(
            f"mart {mart.name}: engine: spark, and its SQL {error}",
            expected="SQL that is known to mean the same in DuckDB and in Spark, see docs/spark.md",
            remedy=f"write it otherwise beside {mart.source}, or leave the mart to engine: local",
        ) from error


def view_name(table: str) -> str:
    """What `silver.orders` is called in Spark, which knows no schemas of temporary views."""
    return table.replace(".", "__")


def spark_problems(catalog: Catalog) -> Iterator[str]:
    """What of the marts for Spark cannot be run there."""
    for mart in catalog.marts:
        if mart.engine == "spark":
            try:
                to_spark(mart, catalog)
            except ContractError as error:
                yield str(error)
