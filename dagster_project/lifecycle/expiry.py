"""Expiry: table partitions of Bronze that are older than the contract's retention are deleted, whole, and remembered.

Nothing is deleted that Silver has not read, and nothing whose place is not proven. The ledger has the offsets, and what
became of them, before Bronze is without the rows: after a crash in between, the next run deletes them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import polars as pl

from dagster_project.accounting.fates import fates
from dagster_project.accounting.problems import damage
from dagster_project.accounting.soundness import Evidence
from dagster_project.contract.model import DATE_COLUMN, Dataset
from dagster_project.errors import AccountingError, StaleCursorError
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.keys import Key, frame_of, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED, Entry, Ledger, write
from dagster_project.refine.cursors import cursor_name
from dagster_project.refine.plan import progress
from dagster_project.topics.offsets import Offsets, place

# Rows that one commit deletes; their places and keys are in memory while they are proven, some 100 MB.
_ROWS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Expired:
    """What one commit deleted, or would delete.

    Attributes:
        partitions: table partitions, as `2026-11-05/eu`.
        bytes: of the files; the store has them back once they are vacuumed.
        places: how many rows had each place of the account.
        version: that was committed; `None` if nothing was, because it was a rehearsal or another writer came first.
        outpaced: another writer committed first; nothing was deleted.
    """

    dataset: str
    partitions: tuple[str, ...]
    files: int
    rows: int
    bytes: int
    places: dict[str, int]
    version: int | None = None
    outpaced: bool = False


def expire(
    dataset: Dataset,
    *,
    storage: Storage,
    now: dt.datetime,
    readers: Sequence[Dataset] = (),
    rehearse: bool = False,
) -> Iterator[Expired]:
    """Delete what is older than the retention; yields after each commit, of which each has a bounded number of rows.

    Args:
        readers: major versions of the dataset that are made from Bronze, the dataset itself by default. The first one tells
            of each row's place; all have read it.
        now: with a time zone; a table partition expires once its last moment is older than the retention.
        rehearse: prove and count everything, and delete nothing.

    Raises:
        AccountingError: files do not hold what the log says, or rows have no proven place; they were not deleted.
        LakeError: the store cannot be read or written.
    """
    # Planned anew after each commit: the version that is then read may hold other writers' commits.
    readers = readers or (dataset,)
    while (bronze := Table.find(specs.bronze(dataset), storage=storage)) is not None:
        portions = _portions(overdue(dataset, bronze, now=now, readers=readers, storage=storage))
        for files in portions if rehearse else portions[:1]:
            entries = prove(readers[0], bronze, files, storage=storage)
            told = _describe(dataset, files, entries)
            try:
                yield (
                    told
                    if rehearse
                    else replace(told, version=_delete(dataset, bronze, files, entries, storage=storage))
                )
            except StaleCursorError:
                yield replace(told, outpaced=True)
                return
        if rehearse or not portions:
            return


def overdue(
    dataset: Dataset, bronze: Table, *, now: dt.datetime, readers: Sequence[Dataset], storage: Storage
) -> pl.DataFrame:
    """Files of table partitions that are older than the retention, as `Table.files` gives them.

    Beside their columns `_read`: whether each reader's Silver has read all of the table partition.
    """
    first_kept = (now.astimezone(dt.UTC) - dataset.slo.retention).date()
    files = bronze.files().filter(pl.col(DATE_COLUMN) < first_kept).sort(*specs.KEYS, "path")
    done = [progress(Table.find(specs.silver(reader), storage=storage)) for reader in readers]
    through = [min(read.get(Key(*row), -1) for read in done) for row in files.select(specs.KEYS).iter_rows()]
    files = files.with_columns((pl.col("max._batch_id") <= pl.Series("_read", through, pl.Int64)).alias("_read"))
    return files.with_columns(pl.col("_read").all().over(specs.KEYS))


def _portions(files: pl.DataFrame) -> list[pl.DataFrame]:
    """Whole table partitions that Silver has read: one frame a commit."""
    ready = files.filter("_read").drop("_read")
    ends = (
        ready.group_by(specs.KEYS, maintain_order=True)
        .agg(pl.sum("num_records"))
        .with_columns((pl.col("num_records").cum_sum() // _ROWS).alias("_portion"))
    )
    return ready.join(ends.drop("num_records"), on=specs.KEYS, maintain_order="left").partition_by(
        "_portion", maintain_order=True, include_key=False
    )


def prove(dataset: Dataset, bronze: Table, files: pl.DataFrame, *, storage: Storage) -> list[Entry]:
    """What the ledger will have of some files: each of their rows once, with a proven place.

    Raises:
        AccountingError: the files do not hold the rows that the log says, or some have no place or more than one.
    """
    rows = bronze.rows(files).select(place(), *specs.KEYS).collect(engine="in-memory")
    logged = files.group_by(specs.KEYS).agg(pl.sum("num_records").alias("logged"))
    counted = logged.join(rows.group_by(specs.KEYS).len("found"), on=specs.KEYS, how="left").with_columns(
        pl.col("found").fill_null(0)
    )
    wrong = counted.filter(pl.col("found") != pl.col("logged")).sort(specs.KEYS)
    if not wrong.is_empty():
        date, region, expected, found = wrong.select(*specs.KEYS, "logged", "found").row(0)
        raise _refuse(dataset, f"{Key(date, region)} has {found} rows, and {expected} by its log")
    # Silver after Bronze, and quarantine after Silver: neither is then older than what is proven by it.
    silver, quarantine = (Table.find(spec(dataset), storage=storage) for spec in (specs.silver, specs.quarantine))
    keys = keys_of(files)
    near = [*keys, Key(None, None)] if dataset.stable_partitions else None
    found = fates(
        dataset,
        bronze=Evidence(table=bronze, files=files),
        silver=_evidence(silver, near),
        quarantine=_evidence(quarantine, keys),
    )
    places = {
        "silver_rows": found.silver,
        "superseded": found.superseded,
        "quarantined": found.quarantined,
        "tombstones": found.tombstones,
    }
    unproven = [
        *damage(found.lost, "neither in Silver, superseded, nor quarantined"),
        *damage(found.doubled, "in more than one place"),
        *damage(found.pending, "not read by Silver"),
    ]
    if unproven:
        raise _refuse(dataset, "; ".join(unproven))
    parts = rows.partition_by(specs.KEYS, as_dict=True).items()
    by_key = {Key(date, region): Offsets.of_rows(part) for (date, region), part in parts}
    entries = [
        Entry(offsets=offsets & of_place, kind="expired", key=key, place=name)
        for key, offsets in by_key.items()
        for name, of_place in places.items()
        if offsets & of_place
    ]
    assert sum(len(entry.offsets) for entry in entries) == len(rows)
    return entries


def _delete(dataset: Dataset, bronze: Table, files: pl.DataFrame, entries: list[Entry], *, storage: Storage) -> int:
    """Write the ledger, then commit Bronze without the files; returns its version."""
    cursor = Cursor.from_table(bronze.cursors())
    assert cursor is not None
    table = Table.open(specs.ledger(dataset), storage=storage)
    topic = cursor.topic(dataset.topic.name)
    first, last = files[DATE_COLUMN].min(), files[DATE_COLUMN].max()
    older = table.files().filter(
        pl.col("kind") == "expired", pl.col(f"max.{DATE_COLUMN}") >= first, pl.col(f"min.{DATE_COLUMN}") <= last
    )
    known = Ledger.read(table, topic, files=older).offsets("expired")  # of a run that was killed before it deleted
    fresh = [replace(entry, offsets=left) for entry in entries if (left := entry.offsets - known)]
    if fresh:
        write(table, topic, fresh, batch_id=cursor.batch_id, covered={})
    rows = int(files["num_records"].sum())
    through = files.group_by(specs.KEYS).agg(pl.max("max._batch_id")).iter_rows()
    return bronze.commit(
        pl.DataFrame(schema=dict(bronze.spec.schema)),
        remove=files,
        cursors={
            EXPIRED: bronze.cursors().get(EXPIRED, 0) + rows,
            **{cursor_name(EXPIRED, Key(date, region)): batch for date, region, batch in through},
        },
        metadata={"expired_rows": rows},
    )


def _describe(dataset: Dataset, files: pl.DataFrame, entries: list[Entry]) -> Expired:
    places: dict[str, int] = {}
    for entry in entries:
        places[str(entry.place)] = places.get(str(entry.place), 0) + len(entry.offsets)
    return Expired(
        dataset=dataset.name,
        partitions=tuple(map(str, keys_of(files))),
        files=len(files),
        rows=int(files["num_records"].sum()),
        bytes=int(files["size_bytes"].sum()),
        places=places,
    )


def _evidence(table: Table | None, keys: list[Key] | None) -> Evidence:
    if table is None:
        return Evidence(table=None, files=pl.DataFrame())
    files = table.files()
    if keys is not None:
        files = files.join(frame_of(keys), on=specs.KEYS, how="semi", nulls_equal=True)
    return Evidence(table=table, files=files)


def _refuse(dataset: Dataset, found: str) -> AccountingError:
    return AccountingError(
        f"bronze/{dataset.name} is older than its retention and cannot be deleted: {found}",
        expected="rows that are as many as the log says, each with one proven place; nothing was deleted",
        remedy=f"run `lakehouse verify --dataset {dataset.name}`, mend what it names, and run this again",
    )
