"""What is to be refined next: Bronze files in portions that fit into memory, and their rows in Silver's columns."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import pairwise

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.refine.protect import clear


def portions(files: pl.DataFrame, *, most: int) -> Iterator[pl.DataFrame]:
    """Split the work between table partitions, and a large one between batches, so that its cursor can stop there.

    Args:
        most: rows of a portion, unless one batch of one table partition has more.
    """
    portion: list[pl.DataFrame] = []
    rows = 0
    for part in files.sort(*specs.KEYS, "max._batch_id").partition_by(specs.KEYS, maintain_order=True):
        count = int(part["num_records"].sum())
        if portion and rows + count > most:
            yield pl.concat(portion)
            portion, rows = [], 0
        *whole, last = _by_batches(part, most=most)
        yield from whole
        portion.append(last)
        rows += int(last["num_records"].sum())
    if portion:
        yield pl.concat(portion)


def _by_batches(part: pl.DataFrame, *, most: int) -> list[pl.DataFrame]:
    """Files of a table partition, in the order of their last batches, cut where no batch is on both sides."""
    cuts, rows, reached = [0], 0, -1
    for at, (first, last, count) in enumerate(part.select("min._batch_id", "max._batch_id", "num_records").iter_rows()):
        if rows + count > most and rows and first > reached:
            cuts.append(at)
            rows = 0
        rows, reached = rows + count, last
    return [part[begin:end] for begin, end in pairwise([*cuts, len(part)])]


def columns_of(dataset: Dataset, silver: Table, known: Container[str]) -> list[pl.Expr]:
    """Silver's columns in the clear, null where they are not among the known ones: those of a newer contract."""
    return [
        (pl.col(name) if name in known else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in clear(dataset, silver.schema).items()
    ]


def new_rows(dataset: Dataset, bronze: Table, files: pl.DataFrame, silver: Table) -> pl.DataFrame:
    """Rows after each partition's last batch, in Silver's columns, in the clear."""
    columns = columns_of(dataset, silver, {*bronze.schema, "_deleted"})
    # Only poison and deletes have no date, so files with one that are new as a whole need not be looked through.
    whole = files.filter(pl.col("event_date").is_not_null() & (pl.col("min._batch_id") > pl.col("_done")))
    rest = files.join(whole, on="path", how="anti")
    done = rest.select(*specs.KEYS, "_done").unique()
    others = (
        bronze.rows(rest)
        .filter(pl.col("_kind") != specs.POISON)
        .join(done.lazy(), on=specs.KEYS, nulls_equal=True)
        .filter(pl.col("_batch_id") > pl.col("_done"))
        .with_columns((pl.col("_kind") == specs.TOMBSTONE).alias("_deleted"))
        .select(columns)
    )
    events = bronze.rows(whole).with_columns(pl.lit(False).alias("_deleted")).select(columns)
    return pl.concat([events, others]).collect(engine="in-memory")
