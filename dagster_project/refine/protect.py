"""The border between the layers that hold values in the clear, Bronze and quarantine, and those after them."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.model import Dataset
from dagster_project.lake.specs import RESCUED
from dagster_project.refine.pseudonyms import Keyring


def clear(dataset: Dataset, schema: Mapping[str, pl.DataType]) -> Mapping[str, pl.DataType]:
    """The columns of rows that are not protected yet, given those of Silver."""
    if not dataset.protected:
        return schema
    return {**schema, **polars_schema(dataset.protected)}


def protect(dataset: Dataset, rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows that were judged, as they may be published: with pseudonyms, and without what nobody may see.

    Args:
        rows: with the columns of `clear`.
        schema: Silver's.

    Raises:
        ConfigurationError: there is no secret to make pseudonyms with.
    """
    if not dataset.protected:
        return rows
    rows = pseudonymised(dataset, rows)
    # What a contract does not know, nobody has classified: it stays in Bronze, until a contract knows it.
    dropped = [column.name for column in dataset.protected if column.protection == "drop"]
    hidden = [*(name for name in dropped if name in schema), RESCUED]
    nothing = (pl.lit(None, schema[name]).alias(name) for name in hidden)
    return rows.with_columns(nothing).select(schema.keys())


def pseudonymised(dataset: Dataset, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with pseudonyms in those columns that are there and are to have them.

    Raises:
        ConfigurationError: there is no secret to make them with.
    """
    columns = [column for column in dataset.protected if column.protection == "pseudonymise"]
    if not columns:
        return rows
    keys = Keyring.load()
    return rows.with_columns(
        keys.pseudonyms(rows[column.name], domain=column.pseudonym_domain).alias(column.name)
        for column in columns
        if column.name in rows.columns
    )
