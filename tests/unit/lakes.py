"""A lake in a temporary folder, filled from hand-made messages: what a broker would have given, without one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog, Dataset, Mart
from dagster_project.ingest.bronze import place
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.fetch import Fetched
from dagster_project.ingest.lateness import cursors_of, measure, newest_events
from dagster_project.ingest.wire import Decodes
from dagster_project.lake import specs
from dagster_project.lake.keys import Key
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.refine.staleness import pending_gold

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CLUSTER, TOPIC_ID = "cluster-1", "AbC_d-9"

CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: readings
name: Readings
version: 1.0.0
status: active
servers:
  - server: kafka
    type: kafka
    host: localhost:9092
    format: json
schema:
  - name: readings
    physicalName: test.readings
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: at}
      - {property: partitionTime, value: placed}
      - {property: startDate, value: "2026-01-01"}
      - {property: writeMode, value: upsert}
      - {property: allowedLateness, value: PT10M}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: at, logicalType: timestamp, required: true}
      - {name: placed, logicalType: timestamp, required: true}
      - {name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}
      - {name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}
team:
  name: testers
"""
MART = """\
apiVersion: v3.2.0
kind: DataContract
id: levels
name: Levels
version: 1.0.0
status: active
schema:
  - name: levels
    physicalType: table
    logicalType: object
    customProperties:
      - {property: inputs, value: [readings]}
      - {property: partitionedBy, value: [event_date, region]}
    properties:
      - {name: event_date, logicalType: date, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: region, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 2}
      - {name: readings, logicalType: integer, required: true}
      - {name: total, logicalType: integer}
team:
  name: testers
"""
SQL = "SELECT event_date, region, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL"


def write_project(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files of a contracts folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def small_catalog(folder: Path) -> Catalog:
    """One dataset, `readings`, and one mart over it, `levels`."""
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": MART, "levels.sql": SQL}
    return load_catalog(write_project(folder, files))


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message of the topic; its correlation id is its place, unless it has one."""

    offset: int
    payload: bytes | None
    key: bytes | None = None
    partition: int = 0
    sent: dt.datetime = EPOCH
    correlation_id: str = ""
    headers: tuple[tuple[str, bytes | None], ...] = ()


def reading(
    offset: int,
    identity: str = "a",
    *,
    at: int = 0,
    day: int = 1,
    region: str = "eu",
    level: int | None = 1,
    partition: int = 0,
) -> Message:
    """An event of the small contract: `at` in minutes after midnight of the first day, `day` its day of January 2026."""
    values = {
        "id": identity,
        "at": (EPOCH + dt.timedelta(minutes=at)).isoformat(),
        "placed": dt.datetime(2026, 1, day, 12, tzinfo=dt.UTC).isoformat(),
        "region": region,
        "level": level,
    }
    return Message(
        offset=offset,
        payload=json.dumps(values).encode(),
        key=identity.encode(),
        partition=partition,
        sent=EPOCH + dt.timedelta(days=day - 1),
    )


def tombstone(offset: int, identity: str = "a", *, at: int = 0, partition: int = 0) -> Message:
    """A delete, sent `at` minutes after midnight of the first day."""
    sent = EPOCH + dt.timedelta(minutes=at)
    return Message(offset=offset, payload=None, key=identity.encode(), partition=partition, sent=sent)


def fetched(messages: Iterable[Message], following: Mapping[int, int] | None = None) -> Fetched:
    """Messages as the fetcher gives them; `following` are the next offsets, by default those after the last messages."""
    found = list(messages)
    after: dict[int, int] = {}
    for message in found:
        after[message.partition] = max(message.offset + 1, after.get(message.partition, 0))
    frame = pl.DataFrame(
        {
            "_kafka_partition": pl.Series([message.partition for message in found], dtype=pl.Int32),
            "_kafka_offset": pl.Series([message.offset for message in found], dtype=pl.Int64),
            "_kafka_timestamp": pl.Series([message.sent for message in found], dtype=TIMESTAMP),
            "_correlation_id": pl.Series(
                [message.correlation_id or f"{message.partition}/{message.offset}" for message in found],
                dtype=pl.String,
            ),
            "_key": pl.Series([message.key for message in found], dtype=pl.Binary),
            "_payload": pl.Series([message.payload for message in found], dtype=pl.Binary),
            "_headers": pl.Series(
                [[{"key": key, "value": value} for key, value in message.headers] for message in found],
                dtype=specs.MESSAGE["_headers"],
            ),
        }
    )
    return Fetched(messages=frame, next={**after, **(following or {})}, caught_up=True)


@dataclass(kw_only=True)
class Lake:
    """The tables of one dataset."""

    catalog: Catalog
    storage: Storage
    dataset: Dataset
    cursor: Cursor = field(default_factory=lambda: Cursor(cluster_id=CLUSTER, topic_id=TOPIC_ID))

    @classmethod
    def at(cls, folder: Path, *, catalog: Catalog, **changes: Any) -> Lake:
        """A new lake; `changes` are made to the contract of the first dataset."""
        dataset = replace(catalog.datasets[0], **changes)
        storage = Storage.at(str(folder))
        return cls(catalog=replace(catalog, datasets=(dataset,)), storage=storage, dataset=dataset)

    @property
    def mart(self) -> Mart:
        return self.catalog.marts[0]

    @property
    def bronze(self) -> Table:
        return Table.open(specs.bronze(self.dataset), storage=self.storage)

    @property
    def silver(self) -> Table:
        return Table.open(specs.silver(self.dataset), storage=self.storage)

    @property
    def quarantine(self) -> Table:
        return Table.open(specs.quarantine(self.dataset), storage=self.storage)

    @property
    def gold(self) -> Table:
        return Table.open(specs.gold(self.mart), storage=self.storage)

    def tables(self) -> dict[str, Table | None]:
        """All tables, as the sensors look them up."""
        kinds = [specs.bronze(self.dataset), specs.silver(self.dataset), specs.gold(self.mart)]
        return {f"{spec.layer}/{spec.name}": Table.find(spec, storage=self.storage) for spec in kinds}

    def arrive(
        self,
        *messages: Message,
        following: Mapping[int, int] | None = None,
        decoder: Decodes | None = None,
        ingested: dt.datetime = EPOCH,
    ) -> None:
        """One Bronze batch; offsets start at 0 in every Kafka partition. Without another decoder messages are JSON."""
        batch = fetched(messages, following)
        starts = dict.fromkeys(batch.next, 0)
        offsets = {**starts, **self.cursor.next}
        self.cursor = replace(
            self.cursor,
            start={**starts, **self.cursor.start},
            next={**offsets, **{p: max(offset, offsets[p]) for p, offset in batch.next.items()}},
            batch_id=self.cursor.batch_id + 1,
        )
        rows = place(self.dataset, batch, decoder or Decoder(self.dataset.columns))
        late, moved = measure(self.dataset, rows, newest_events(self.bronze.cursors()))
        rows = rows.with_columns(
            late,
            pl.lit(self.cursor.batch_id, pl.Int64).alias("_batch_id"),
            pl.lit(ingested, TIMESTAMP).alias("_ingested_at"),
        )
        self.bronze.commit(rows, cursors={**self.cursor.to_table(), **cursors_of(moved)})

    def refine(self) -> None:
        """Bring Silver up to date."""
        list(refine(self.dataset, storage=self.storage, keys=None))

    def compute(self) -> None:
        """Bring Gold up to date."""
        list(compute(self.mart, catalog=self.catalog, storage=self.storage, keys=None))

    def stale(self) -> list[Key]:
        """Table partitions of the first mart that are older than their input."""
        return pending_gold(self.mart, self.tables(), catalog=self.catalog)

    def live(self) -> dict[str, dict[str, Any]]:
        """Rows of Silver that are not deleted, by key; fails on a doubled one."""
        rows = self.silver.rows().filter(~pl.col("_deleted")).collect().to_dicts()
        found = {row["id"]: row for row in rows}
        assert len(found) == len(rows)
        return found
