"""All rows about a subject: those that have its values, and every other version of the same merge keys."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.protect import pseudonymised
from dagster_project.topics.offsets import Offsets, place

# Rows that are looked at at a time: bounds memory.
_ROWS = 500_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """Offsets of the rows about a subject.

    Attributes:
        bronze: of those that Bronze has.
        rows: by layer, how many rows.
        newest: when the last of them was sent; `None` where there are none.
    """

    offsets: Offsets
    bronze: Offsets
    rows: dict[str, int]
    newest: dt.datetime | None


def find(dataset: Dataset, subject: Subject, *, storage: Storage) -> Found:
    """Look for a subject in Bronze, Silver and quarantine.

    Raises:
        LakeError: the store cannot be read.
    """
    key = list(dataset.merge_key)
    bronze, silver, quarantine = (
        Table.find(spec(dataset), storage=storage) for spec in (specs.bronze, specs.silver, specs.quarantine)
    )
    nothing = pl.DataFrame(schema={"_place": pl.Int64, "_kafka_timestamp": specs.COORDINATES["_kafka_timestamp"]})
    in_bronze = in_silver = in_quarantine = nothing
    keys = pl.DataFrame(schema={name: specs.silver(dataset).schema[name] for name in key})
    if bronze is not None:
        keys = pseudonymised(dataset, bronze.rows().filter(subject.in_the_clear()).select(key).unique().collect())
    if silver is not None:
        keys = pl.concat([keys, silver.rows().filter(subject.published()).select(key).unique().collect()]).unique()
        in_silver = silver.rows().join(keys.lazy(), on=key, how="semi").select(place(), "_kafka_timestamp").collect()
    if bronze is not None:
        in_bronze = pl.concat([nothing, *_of_keys(dataset, bronze, keys), *_poison(subject, bronze)]).unique()
    if quarantine is not None:
        messages = quarantine.rows().select(place(), "_kafka_timestamp", "_key", "_payload").collect()
        known = messages.join(in_bronze, on="_place", how="semi")
        # Of what Bronze has no longer, the message itself tells.
        alone = messages.join(_places(bronze), on="_place", how="anti")
        alone = alone.filter(subject.is_in(alone.select("_key", "_payload")))
        in_quarantine = pl.concat([known, alone]).select(nothing.columns)
    everything = pl.concat([in_bronze, in_silver, in_quarantine])
    newest = everything["_kafka_timestamp"].max()
    assert newest is None or isinstance(newest, dt.datetime)
    rows = {"bronze": len(in_bronze), "quarantine": len(in_quarantine), "silver": len(in_silver)}
    return Found(offsets=Offsets.of_rows(everything), bronze=Offsets.of_rows(in_bronze), rows=rows, newest=newest)


def _of_keys(dataset: Dataset, bronze: Table, keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Events and deletes of merge keys, which are as Silver has them."""
    key = list(dataset.merge_key)
    for part in portions(bronze.files(), most=_ROWS):
        rows = bronze.rows(part).filter(pl.col("_kind") != specs.POISON).select(place(), "_kafka_timestamp", *key)
        published = pseudonymised(dataset, rows.collect(engine="in-memory"))
        yield published.join(keys, on=key, how="semi").drop(key)


def _poison(subject: Subject, bronze: Table) -> Iterator[pl.DataFrame]:
    """Messages that could not be decoded and have all of the values somewhere."""
    may_hold = pl.lit(specs.POISON).is_between(pl.col("min._kind"), pl.col("max._kind"))
    for part in portions(bronze.files().filter(may_hold), most=_ROWS):
        poison = bronze.rows(part).filter(pl.col("_kind") == specs.POISON)
        rows = poison.select(place(), "_kafka_timestamp", "_key", "_payload").collect(engine="in-memory")
        yield rows.filter(subject.is_in(rows.select("_key", "_payload"))).drop("_key", "_payload")


def _places(bronze: Table | None) -> pl.DataFrame:
    return pl.DataFrame(schema={"_place": pl.Int64}) if bronze is None else bronze.rows().select(place()).collect()


def portions(files: pl.DataFrame, *, most: int) -> list[pl.DataFrame]:
    """Files in groups of about as many rows."""
    number = (pl.col("num_records").cum_sum() // most).alias("_portion")
    return files.with_columns(number).partition_by("_portion", maintain_order=True, include_key=False)
