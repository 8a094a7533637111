"""The ledger of a dataset: offsets that have no row in Bronze, and why; kept for ever."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import TopicIdentityError
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets

# `unseen`: no row in Bronze, and already deleted from the broker when its gaps were looked at. `expired`: Bronze had a row,
# which was deleted after the contract's retention. `forgotten`: a person asked for it to be erased from every layer.
Kind = Literal["control", "aborted", "compacted", "lost", "unseen", "expired", "forgotten"]

# Cursor of Bronze: how many of its rows the retention has deleted, and, with a table partition's name after it, the last
# batch whose rows there are gone. Moved by the commit that deletes, after the ledger has their offsets.
EXPIRED = "expired"
_NOWHERE = Key(None, None)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Offsets to be written into the ledger, and why.

    Attributes:
        key, place: of what has expired, the table partition that it was in, and what had become of it. Of what was
            forgotten `place` is `bronze`, or `expired` where Bronze had it no longer.
    """

    offsets: Offsets
    kind: Kind
    note: str = ""
    declared_by: str = ""
    key: Key = _NOWHERE
    place: str | None = None


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """What the ledger says of one topic.

    Attributes:
        rows: `_kafka_partition, first_offset, last_offset, kind, note, declared_by, recorded_at, batch_id`, and of what
            has expired `event_date, region, place`.
        covered: by Kafka partition, the offset up to which all gaps are recorded.
    """

    rows: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=dict(specs.LEDGER)))
    covered: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def read(
        cls, table: Table | None, topic: Topic, *, kind: Kind | None = None, files: pl.DataFrame | None = None
    ) -> Ledger:
        """Of the table, or of some of its files, all rows or those of one kind.

        Raises:
            TopicIdentityError: it was kept for another topic.
        """
        if table is None:
            return cls()
        covered: dict[int, int] = {}
        for name, value in table.cursors().items():
            if not name.startswith("kafka/"):
                continue
            _, cluster_id, topic_id, partition, _ = name.split("/")
            if (cluster_id, topic_id) != (topic.cluster_id, topic.topic_id):
                raise TopicIdentityError(
                    f"ledger/{table.spec.name} was kept for topic id {topic_id}; {topic.name!r} has id {topic.topic_id}",
                    expected="one topic for each ledger: offsets of another topic mean other events",
                    remedy=f"after the topic was made anew, run `lakehouse retire {table.spec.name}`",
                )
            covered[int(partition)] = value
        files = table.files() if files is None else files
        chosen = files if kind is None else files.filter(pl.col("kind") == kind)
        return cls(rows=table.rows(chosen).collect(engine="in-memory"), covered=covered)

    def offsets(self, *kinds: Kind) -> Offsets:
        return Offsets.of_runs(self.rows.filter(pl.col("kind").is_in(kinds)))

    def erased(self) -> Offsets:
        """What was forgotten while Bronze had it."""
        return Offsets.of_runs(self.rows.filter(pl.col("kind") == "forgotten", pl.col("place") == "bronze"))

    def expired(self) -> dict[str, Offsets]:
        """What the retention has deleted from Bronze, by the place that each offset had then."""
        rows = self.rows.filter(pl.col("kind") == "expired")
        return {
            str(place): Offsets.of_runs(part) for (place,), part in rows.partition_by("place", as_dict=True).items()
        }


def lost(dataset: Dataset, topic: Topic, *, storage: Storage) -> Offsets:
    """All declared losses."""
    return Ledger.read(Table.find(specs.ledger(dataset), storage=storage), topic, kind="lost").offsets("lost")


def forgotten(dataset: Dataset, topic: Topic, *, storage: Storage) -> Offsets:
    """All that is not to be read again, as a person asked for it to be erased."""
    table = Table.find(specs.ledger(dataset), storage=storage)
    return Ledger.read(table, topic, kind="forgotten").offsets("forgotten")


def write(table: Table, topic: Topic, entries: list[Entry], *, batch_id: int, covered: Mapping[int, int]) -> int:
    """Commit entries, with the offsets up to which gaps are recorded; returns the new version.

    Raises:
        StaleCursorError: another run has written since the table was read; nothing was written.
    """
    now = dt.datetime.now(dt.UTC)
    runs = [
        entry.offsets.rows(
            kind=entry.kind,
            note=entry.note,
            declared_by=entry.declared_by,
            recorded_at=now,
            batch_id=batch_id,
            event_date=entry.key.date,
            region=entry.key.region,
            place=entry.place,
        ).select(pl.col(name).cast(dtype) for name, dtype in specs.LEDGER.items())
        for entry in entries
    ]
    rows = pl.concat([pl.DataFrame(schema=dict(specs.LEDGER)), *runs])
    prefix = f"kafka/{topic.cluster_id}/{topic.topic_id}"
    cursors = {f"{prefix}/{partition}/gaps": offset for partition, offset in covered.items()}
    return table.commit(rows, cursors=cursors, metadata={"rows": len(rows)})
