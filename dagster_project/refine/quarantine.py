"""Rows that broke a rule: committed before Silver, each once, whatever crashed in between or was judged otherwise since."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping

import duckdb
import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import Dataset
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of
from dagster_project.lake.sandbox import bounded, only, sandbox
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.cursors import batch_of, cursor_name
from dagster_project.refine.plan import progress
from dagster_project.topics.offsets import place

PLACE = ("_kafka_partition", "_kafka_offset")
# Cursor of Silver: the newest `_release` whose rows it has taken over.
RELEASED = "released"


def quarantined(dataset: Dataset, *, storage: Storage, where: str | None = None) -> pl.DataFrame:
    """Rows in quarantine that were not released, in the order of their places.

    Args:
        where: SQL over the columns of quarantine.

    Raises:
        LakeError: the SQL does not run.
    """
    spec = specs.quarantine(dataset)
    table = Table.find(spec, storage=storage)
    rows = pl.LazyFrame(schema=dict(spec.schema)) if table is None else table.rows()
    found = rows.filter(pl.col(specs.RELEASE).is_null()).sort(PLACE).collect(engine="in-memory")
    if where is None:
        return found
    with sandbox() as connection, bounded(connection):
        columns = found.with_columns(reasons=pl.col("_reasons").list.join(", "))
        connection.register("quarantine", columns.drop("_headers").to_arrow())
        try:
            sql = f"SELECT {', '.join(PLACE)} FROM quarantine WHERE ({where}\n)"
            chosen = connection.sql(only(connection, sql)).to_arrow_table()
        except duckdb.Error as error:
            raise LakeError(
                f"--where {where}: {error}",
                expected="SQL over quarantine: reasons, region, event_date, _kafka_partition, _kafka_offset, …",
                remedy="correct the SQL, such as \"reasons LIKE 'amount.%' AND region = 'eu'\"",
            ) from error
    return found.join(pl.DataFrame(chosen), on=PLACE, how="semi", maintain_order="left")


def known(table: Table, keys: Iterable[Key]) -> pl.DataFrame:
    """The places of rows of table partitions that are in quarantine, or have been, with their `_release`."""
    files = table.files().join(frame_of(keys), on=specs.KEYS, how="semi", nulls_equal=True)
    return table.rows(files).select(*PLACE, specs.RELEASE).collect(engine="in-memory")


def released_through(silver: Table | None) -> int:
    """The newest `_release` whose rows Silver has taken over."""
    return -1 if silver is None else silver.cursors().get(RELEASED, -1)


def quarantine(
    table: Table, bad: pl.DataFrame, through: Mapping[Key, int], *, bronze: Table, files: pl.DataFrame
) -> None:
    """Commit rows with their messages and reasons. Should Silver's commit fail, the next run finds them here.

    Args:
        bad: rows with `_reasons` that are not in quarantine yet.
        through: by table partition, the last Bronze batch that is done with this commit.
        files: of Bronze, that hold the rows.
    """
    if bad.is_empty():
        return
    rows = bad.join(_messages(bronze, files, bad), on=PLACE).with_columns(
        pl.lit(dt.datetime.now(dt.UTC), TIMESTAMP).alias("_quarantined_at"), pl.lit(None, pl.Int64).alias(specs.RELEASE)
    )
    done = progress(table)
    moved = {cursor_name("bronze", key): batch for key, batch in through.items() if batch > done.get(key, -1)}
    table.commit(
        rows.select(table.spec.schema.keys()), cursors=moved, metadata={"rows": len(rows), **batch_of(through)}
    )


def _messages(bronze: Table, files: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The messages of a few rows; they are most of Bronze's bytes, so no other file is read for them."""
    batches = rows.select(*specs.KEYS, "_batch_id").unique()
    holding = files.join(batches, on=specs.KEYS, nulls_equal=True).filter(
        pl.col("_batch_id").is_between("min._batch_id", "max._batch_id")
    )
    wanted = rows.select(place()).to_series()
    # A filter that the reader of Parquet understands, so that it unpacks only what passes.
    messages = bronze.rows(files.join(holding, on="path", how="semi")).filter(place().is_in(wanted.implode()))
    return messages.select(*PLACE, *specs.MESSAGE).collect(engine="in-memory")
