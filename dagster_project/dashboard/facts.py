"""What a dataset's tables say of themselves at one moment: from their logs, and from the few files that must be opened."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.dashboard.census import Census
from dagster_project.ingest.cursor import Cursor
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import EXPIRED
from dagster_project.refine.holds import holds, is_in
from dagster_project.refine.plan import pending_files, progress
from dagster_project.refine.quarantine import released_through
from dagster_project.topics.offsets import Offsets

# Kinds of the ledger whose offsets have no row in Bronze and never will; the page names them as `lakehouse verify` does.
_GAPS = {
    "control": "control",
    "aborted": "aborted",
    "compacted": "compacted",
    "unseen": "unproven_gaps",
    "lost": "lost",
    "forgotten": "forgotten",
}
_NOWHERE = pl.col("event_date").is_null()


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why rows were kept from Silver: rows, and when the last of them was."""

    reason: str
    rows: int
    last: dt.datetime


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Counts of rows and offsets of one dataset, in the version that serves.

    Attributes:
        topic_id: of the topic that Bronze was read from; empty before its first batch.
        start, next: by Kafka partition, the first offset that was ever to be read, and the one after the last that was.
        rows: of Bronze.
        expired: rows that the retention has deleted from Bronze, and nobody asked to be forgotten.
        gaps: by kind, offsets without a row in Bronze, as far as the ledger has them.
        live: rows of Silver that are not deleted.
        poison, deletes: of Bronze, whether or not Silver has read them.
        rejected: rows in quarantine that Silver has read and nobody has released.
        leaving: rows that were released from quarantine and are not in Silver yet.
        pending, pending_deletes, held: of Bronze, that Silver has not read.
        reasons: of poison and of quarantine, by reason, the most frequent first.
    """

    dataset: str
    topic: str
    topic_id: str = ""
    start: Mapping[int, int] = field(default_factory=dict)
    next: Mapping[int, int] = field(default_factory=dict)
    rows: int = 0
    expired: int = 0
    gaps: Mapping[str, int] = field(default_factory=dict)
    live: int = 0
    poison: int = 0
    deletes: int = 0
    rejected: int = 0
    leaving: int = 0
    pending: int = 0
    pending_deletes: int = 0
    held: int = 0
    poison_reasons: tuple[Reason, ...] = ()
    rule_reasons: tuple[Reason, ...] = ()


class FactReader:
    """Reads the facts of one dataset; what it has counted it does not count again."""

    def __init__(self, dataset: Dataset, *, storage: Storage) -> None:
        self.dataset = dataset
        self._storage = storage
        self._bronze = Census(_by_kind)
        self._quarantine = Census(_by_reasons)
        self._ledger = Census(
            lambda rows: rows.select("_path", "_kafka_partition", "first_offset", "last_offset", "kind", "place")
        )

    def read(self) -> Facts:
        """The facts now, each table at one version.

        Raises:
            LakehouseError: a table cannot be read, or holds cursors of more than one topic.
        """
        dataset = self.dataset
        # As `lakehouse verify`: what is computed before what it is computed from, and Silver before quarantine.
        ledger, silver, quarantine, bronze = (
            Table.find(spec(dataset), storage=self._storage)
            for spec in (specs.ledger, specs.silver, specs.quarantine, specs.bronze)
        )
        cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
        if bronze is None or cursor is None:
            return Facts(dataset=dataset.name, topic=dataset.topic.name)
        gaps, gone = self._gaps(ledger, cursor)
        waiting, kinds = self._waiting(bronze, silver)
        poison = kinds.filter(pl.col("_kind") == specs.POISON)
        rejected, leaving, rules = self._rejected(quarantine, silver)
        own = not dataset.reads_payloads  # else what Bronze calls poison is what another major version could not read
        return Facts(
            dataset=dataset.name,
            topic=dataset.topic.name,
            topic_id=cursor.topic_id,
            start=cursor.start,
            next=cursor.next,
            rows=int(bronze.files()["num_records"].sum()),
            expired=bronze.cursors().get(EXPIRED, 0) - gone,
            gaps=gaps,
            live=0 if silver is None else int(silver.files().filter(~_NOWHERE)["num_records"].sum()),
            poison=int(poison["rows"].sum()) if own else 0,
            deletes=int(kinds.filter(pl.col("_kind") == specs.TOMBSTONE)["rows"].sum()),
            rejected=rejected,
            leaving=leaving,
            **waiting,
            poison_reasons=_reasons(poison) if own else (),
            rule_reasons=_reasons(rules),
        )

    def _gaps(self, ledger: Table | None, cursor: Cursor) -> tuple[dict[str, int], int]:
        """Offsets below the cursor by kind, and how many of those that were forgotten Bronze had lost by then."""
        if ledger is None:
            return dict.fromkeys(_GAPS.values(), 0), 0
        # What has expired is the most by far, and Bronze's own log knows how much that is.
        rows = self._ledger.of(ledger, ledger.files().filter(pl.col("kind") != "expired"))
        window = Offsets.of_bounds(cursor.start, cursor.next)
        counts = {
            name: len(Offsets.of_runs(rows.filter(pl.col("kind") == kind)) & window) for kind, name in _GAPS.items()
        }
        forgotten = rows.filter(pl.col("kind") == "forgotten", pl.col("place") == "expired")
        return counts, len(Offsets.of_runs(forgotten) & window)

    def _waiting(self, bronze: Table, silver: Table | None) -> tuple[dict[str, int], pl.DataFrame]:
        """Rows that Silver has not read; and by kind and reason, the rows without a table partition."""
        files = pending_files(self.dataset, bronze, progress(silver))
        scopes = {} if silver is None else holds(silver.cursors())
        # Of a file that Silver has read in part, as compaction has put it together since, the rows decide.
        mixed = files.filter(~_NOWHERE, pl.col("min._batch_id") <= pl.col("_done"))
        nowhere = bronze.files().filter(_NOWHERE)
        counted = self._bronze.of(bronze, pl.concat([nowhere, mixed.select(nowhere.columns)]))
        counts = {"pending": 0, "held": 0, "pending_deletes": 0}
        whole = files.filter(~_NOWHERE, pl.col("min._batch_id") > pl.col("_done"))
        parts = [
            *whole.select(*specs.KEYS, "num_records").iter_rows(),
            *_later(counted, mixed).select(*specs.KEYS, "rows").iter_rows(),
        ]
        for date, region, rows in parts:
            counts["held" if is_in(Key(date, region), scopes) else "pending"] += rows
        unread = _later(counted, files.filter(_NOWHERE))
        deletes = pl.col("_kind") == specs.TOMBSTONE
        counts["pending_deletes"] = int(unread.filter(deletes)["rows"].sum())
        if self.dataset.reads_payloads:
            counts["pending"] += int(unread.filter(~deletes)["rows"].sum())
        return counts, counted.filter(_NOWHERE)

    def _rejected(self, quarantine: Table | None, silver: Table | None) -> tuple[int, int, pl.DataFrame]:
        """Rows in quarantine, rows on their way from there to Silver, and the former by rule."""
        if quarantine is None:
            return 0, 0, pl.DataFrame(schema={"reason": pl.String, "rows": pl.Int64, "last": pl.Datetime("us", "UTC")})
        counted = self._quarantine.of(quarantine, quarantine.files())
        done = progress(silver)
        # Committed before Silver: what Silver has not read yet is still pending. What only this major version could not
        # decode has its cursor in another table partition.
        last = pl.DataFrame(
            {
                "event_date": [key.date for key in done],
                "region": [key.region for key in done],
                "_done": list(done.values()),
            },
            schema={**specs.PARTITION, "_done": pl.Int64},
        )
        placed = counted.join(last, on=specs.KEYS, how="left", nulls_equal=True)
        read = pl.col("_batch_id") <= pl.col("_done").fill_null(-1)
        if self.dataset.reads_payloads:
            read |= _NOWHERE
        kept = placed.filter(read, pl.col(specs.RELEASE).is_null())
        leaving = placed.filter(pl.col(specs.RELEASE) > released_through(silver))
        return int(kept["rows"].sum()), int(leaving["rows"].sum()), kept.explode("reason")


def _by_kind(rows: pl.LazyFrame) -> pl.LazyFrame:
    reason = pl.col(specs.ERROR).str.split(":").list.first().alias("reason")
    return rows.group_by("_path", *specs.KEYS, "_kind", "_batch_id", reason).agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.max("_ingested_at").alias("last")
    )


def _by_reasons(rows: pl.LazyFrame) -> pl.LazyFrame:
    return rows.group_by("_path", *specs.KEYS, "_batch_id", specs.RELEASE, pl.col("_reasons").alias("reason")).agg(
        pl.len().cast(pl.Int64).alias("rows"), pl.max("_quarantined_at").alias("last")
    )


def _later(counted: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Counts of files that are of batches after the files' `_done`."""
    done = files.select(*specs.KEYS, "_done").unique()
    joined = counted.join(done, on=specs.KEYS, how="inner", nulls_equal=True)
    return joined.filter(pl.col("_batch_id") > pl.col("_done"))


def _reasons(counted: pl.DataFrame) -> tuple[Reason, ...]:
    groups = counted.drop_nulls("reason").group_by("reason").agg(pl.sum("rows"), pl.max("last"))
    ordered = groups.sort("rows", "reason", descending=[True, False])
    return tuple(
        Reason(reason=reason, rows=rows, last=last)
        for reason, rows, last in ordered.select("reason", "rows", "last").iter_rows()
    )
