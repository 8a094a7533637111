"""A mart's SQL, run in DuckDB over frames, and held to the mart's contract."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Mapping

import duckdb
import polars as pl

from dagster_project.contract.dtypes import describe, polars_schema
from dagster_project.contract.model import Mart
from dagster_project.errors import ContractError
from dagster_project.lake.columns import instance
from dagster_project.lake.sandbox import bounded, only, sandbox
from dagster_project.refine.macros import MACROS

# To open a database takes 30 ms, as much as a small mart: one for each process, and one mart in it at a time.
_LOCK = threading.Lock()


@functools.cache
def _database(_process: int, *, alone: bool) -> duckdb.DuckDBPyConnection:
    """A database in memory, with the macros of marts.

    Args:
        alone: of one thread.
    """
    database = sandbox(threads=1 if alone else None)
    for macro in MACROS:
        database.execute(macro)
    return database


def run_sql(mart: Mart, inputs: Mapping[str, pl.LazyFrame]) -> pl.DataFrame:
    """Run a mart's SQL over frames; columns come back in the contract's order and types, rows in that of the key.

    DuckDB asks them for the columns that the SQL is about; no others are read.

    Args:
        inputs: by their names in the SQL, such as `silver.orders`.

    Raises:
        ContractError: the SQL fails, or its columns are not the contract's.
    """
    # Of several threads each sums a part, and in which order these come together is chance.
    with _LOCK, _database(os.getpid(), alone=is_inexact(mart, inputs)).cursor() as connection, bounded(connection):
        # Never committed: what is made for one mart no other one sees.
        connection.execute("BEGIN")
        for name, frame in inputs.items():
            schema, _, table = name.partition(".")
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            connection.register(f"_{schema}_{table}", frame)
            connection.execute(f'CREATE VIEW {schema}."{table}" AS SELECT * FROM "_{schema}_{table}"')
        try:
            result = pl.DataFrame(connection.sql(only(connection, mart.sql)).to_arrow_table())
        except duckdb.Error as error:
            raise refuse(
                mart, str(error), "SQL that runs in DuckDB over " + (", ".join(inputs) or "nothing")
            ) from error
        finally:
            connection.execute("ROLLBACK")
    return held_to_contract(mart, result)


def held_to_contract(mart: Mart, result: pl.DataFrame) -> pl.DataFrame:
    """What SQL has yielded, in the contract's order and types, and the order of the key.

    Raises:
        ContractError: its columns are not the contract's, a required value is null, or a key is there twice.
    """
    wanted = polars_schema(mart.columns)
    if set(result.columns) != set(wanted):
        raise refuse(mart, f"yields {', '.join(result.columns)}", f"the contract's columns: {', '.join(wanted)}")
    try:
        result = result.select(pl.col(name).cast(dtype) for name, dtype in wanted.items())
    except pl.exceptions.PolarsError as error:
        types = ", ".join(f"{column.name} {describe(column.type)}" for column in mart.columns)
        raise refuse(mart, f"a value does not fit: {error}", types) from error
    for column in mart.columns:
        if column.required and result[column.name].null_count():
            raise refuse(
                mart, f"{column.name} is null in {result[column.name].null_count()} rows", "a value, as required"
            )
    if not result.select(mart.merge_key).is_duplicated().any():
        return result.sort(mart.merge_key)
    raise refuse(mart, "yields a key twice", f"one row for each {', '.join(mart.merge_key)}")


def is_inexact(mart: Mart, inputs: Mapping[str, pl.LazyFrame]) -> bool:
    """Whether what the SQL yields may depend on the order of its input's rows in its last digits."""
    schemas = [polars_schema(mart.columns), *(frame.collect_schema() for frame in inputs.values())]
    return any(_has_float(dtype) for schema in schemas for dtype in schema.values())


def _has_float(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.Struct):
        return any(_has_float(instance(field.dtype)) for field in dtype.fields)
    return _has_float(instance(dtype.inner)) if isinstance(dtype, pl.List) else dtype.is_float()


def refuse(mart: Mart, found: str, expected: str) -> ContractError:
    return ContractError(
        f"mart {mart.name}: the SQL {found}", expected=expected, remedy=f"mend the SQL beside {mart.source}"
    )
