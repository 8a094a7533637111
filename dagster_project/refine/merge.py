"""Merging new versions into Silver: one row for each identity, whatever the order and number of deliveries.

Of an upsert dataset the newest version of a key stays, by event time, then Kafka offset. Of an append-only one the first
delivery of a key stays, and of a history the first delivery of each version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from dagster_project.contract.model import VERSION_TIME, Dataset
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.table import Table

_PATH, _ROW = "_path", "_row"
# Rows that are written again at a time, and so in one file of a table partition: what bounds memory however large it is.
_ROWS = 250_000
# Versions of a key by age; the Kafka partition counts where a topic has grown and a key has moved.
VERSION_ORDER = (VERSION_TIME, "_kafka_offset", "_kafka_partition")


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A merge that is ready to be committed.

    Attributes:
        added: new rows that won.
        rewritten: files of Silver that hold rows which lost, to be removed.
        losers: merge keys of these rows; the other rows of the files are to be written again. Only an upsert has any.
        touched: table partitions in which something changed.
        superseded: rows that lost, of the new ones and of Silver.
        deleted: keys that a tombstone took out.
    """

    added: pl.DataFrame
    rewritten: pl.DataFrame
    losers: pl.DataFrame
    touched: list[Key]
    superseded: int
    deleted: int


def merge(dataset: Dataset, silver: Table, rows: pl.DataFrame) -> Merge:
    """Decide between new rows and those that Silver has.

    Args:
        rows: Silver's columns, judged good; may hold several versions of a key, and deletes.
    """
    key = list(dataset.identity)
    newest_first = dataset.write_mode == "upsert"
    rows = rows.with_columns(specs.version_time(dataset))
    order = list(VERSION_ORDER)
    # Sorted without the other columns, and only the winners' are touched: most rows lose.
    needed = list(dict.fromkeys((*key, *order)))
    versions = rows.select(needed).with_row_index(_ROW).sort(order, descending=newest_first)
    latest = rows[versions.unique(key, keep="first").get_column(_ROW).sort()]
    files = _candidates(dataset, silver, rows)
    present = (
        silver.rows(files, with_path=True)
        .with_columns(specs.version_time(dataset))
        .join(latest.lazy().select(key), on=key, how="semi", nulls_equal=True)
        .select(*needed, _PATH, "_deleted")
        .collect(engine="in-memory")
    )
    added, losers = latest, present
    if not present.is_empty():
        both = pl.concat([latest.select(*needed, pl.lit(None, pl.String).alias(_PATH), "_deleted"), present])
        new = pl.col(_PATH).is_null()
        # Among equals what Silver has comes first, so that a batch which is processed twice changes nothing.
        ranked = (
            both.sort(*order, new, descending=[True, True, True, False]) if newest_first else both.sort(new, *order)
        )
        winners = ranked.unique(key, keep="first", maintain_order=True)
        added = latest.join(winners.filter(new).select(key), on=key, how="semi", nulls_equal=True)
        losers = present.join(winners.filter(~new).select(key), on=key, how="anti", nulls_equal=True)
    rewritten = files.join(losers.select(pl.col(_PATH).unique().alias("path")), on="path", how="semi")
    touched = set(keys_of(added)) | set(keys_of(rewritten))
    return Merge(
        added=added.select(silver.schema.keys()),
        rewritten=rewritten,
        losers=losers.select(dataset.merge_key),
        touched=sorted(touched, key=str),
        superseded=len(rows) - len(added) + losers.filter(~pl.col("_deleted")).height,
        deleted=added.filter("_deleted").height,
    )


def written(merged: Merge, silver: Table) -> Iterator[pl.DataFrame]:
    """All rows that a merge has to write, a bounded number at a time; those that few rows lose against stay together."""
    key = merged.losers.columns
    begun = [merged.added]
    rows = len(merged.added)
    for file in merged.rewritten.sort(*specs.KEYS, "path").iter_slices(1):
        count = int(file["num_records"].item())
        if rows and rows + count > _ROWS:
            yield pl.concat(begun)
            begun, rows = [], 0
        kept = silver.rows(file).join(merged.losers.lazy(), on=key, how="anti").select(silver.schema.keys())
        begun.append(kept.collect(engine="in-memory"))
        rows += len(begun[-1])
    if begun:
        yield pl.concat(begun)


def doubled_keys(dataset: Dataset, silver: Table, files: pl.DataFrame | None = None) -> int:
    """Identities with more than one row, in some files or the whole table; a merge leaves none behind."""
    rows = silver.rows(files).with_columns(specs.version_time(dataset))
    counts = rows.group_by(dataset.identity).len().filter(pl.col("len") > 1)
    return int(counts.select(pl.len()).collect().item())


def _candidates(dataset: Dataset, silver: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Files that may hold rows of the same identities.

    A key that is deleted may be in any table partition, and so may that of a dataset without stable ones. In a history a
    delete takes nothing out: it stands beside the versions, among the other deletes.
    """
    files = silver.files()
    if not dataset.stable_partitions or (dataset.write_mode == "upsert" and rows["_deleted"].any()):
        return files
    keys = keys_of(rows.select(specs.KEYS))
    if dataset.write_mode == "upsert":
        keys.append(Key(None, None))  # where the marks of deleted keys are
    return files.join(frame_of(keys), on=specs.KEYS, how="semi", nulls_equal=True)
