"""Poison from Bronze to the dead-letter queue, exactly once: the letters and the cursor are one Kafka transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import confluent_kafka as ck
import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError
from dagster_project.ingest import cursor as ingested
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.outbox import cursor as cursors
from dagster_project.outbox.headers import LETTER, sign
from dagster_project.outbox.producer import open_outbox, queue
from dagster_project.telemetry.canonical import Line, canonical
from dagster_project.telemetry.spans import span
from dagster_project.topics.derived import OUTBOX
from dagster_project.topics.patience import own_errors, patiently
from dagster_project.topics.transactions import flush, put, transact

# Letters of one transaction, but a batch of Bronze is never divided: far less than a second, and little memory.
_LETTERS = 10_000


@dataclass(frozen=True, kw_only=True)
class Published:
    """What one run did.

    Attributes:
        letters: how many this run added to the queue.
        cursor: the last Bronze batch whose poison is in the queue, -1 before the first.
        reasons: of the letters, how often each.
    """

    topic: str
    letters: int = 0
    cursor: int = cursors.NOTHING
    reasons: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    """What one transaction carries: the poison of whole batches, in order, and the cursor after them."""

    topic: str
    source: str
    topic_id: str
    partitions: int
    rows: pl.DataFrame
    key: str
    cursor: int


def pending(dataset: Dataset, bronze: Table | None, cursor: int) -> pl.DataFrame:
    """Files of Bronze that may hold poison of batches after the cursor, by their statistics alone: rows of `files()`.

    Raises:
        KafkaError: the cursor is ahead of Bronze, so it belongs to another state of the table.
    """
    if bronze is None:
        return pl.DataFrame(schema={"path": pl.String, "num_records": pl.Int64, "max._batch_id": pl.Int64})
    newest = bronze.cursors().get(ingested.BATCH, cursors.NOTHING)
    if cursor > newest:
        raise KafkaError(
            f"bronze/{dataset.name} is at batch {newest}; its poison was published up to batch {cursor}",
            expected="a Bronze table at least as new as what was published from it",
            remedy=f"restore the table; or, if it was made anew, move {OUTBOX} and the dead-letter queue away as well",
        )
    poison = pl.lit(specs.POISON).is_between(pl.col("min._kind"), pl.col("max._kind"))
    return bronze.files().filter(pl.col("max._batch_id") > cursor, poison)


def publish(
    dataset: Dataset, *, storage: Storage, bootstrap_servers: str, report: Callable[[int], object] = lambda _: None
) -> Published:
    """Send all poison that is not in the queue yet. On return, read-committed consumers see all of it.

    Args:
        report: called after each transaction with the letters sent so far.

    Raises:
        KafkaError: no broker, a topic is missing, another publisher took over, or the cursor is not this table's.
            What was committed stays, and the next run goes on from there.
    """
    topic = queue(dataset, bootstrap_servers=bootstrap_servers)
    with own_errors(topic.name, servers=bootstrap_servers):
        producer = open_outbox(dataset, bootstrap_servers=bootstrap_servers)
        known = cursors.cursors(bootstrap_servers=bootstrap_servers, settled=True)
        bronze = Table.find(specs.bronze(dataset), storage=storage)  # not before the cursor, or it might be older
        read = None if bronze is None else ingested.Cursor.from_table(bronze.cursors())
        if bronze is None or read is None:
            return Published(topic=topic.name, reasons={})
        key = cursors.key(dataset, read.topic_id)
        cursor, reasons, letters = known.get(key, cursors.NOTHING), Counter[str](), 0
        files = pending(dataset, bronze, cursor)
        for last, rows in _batches(bronze, files, cursor, newest=read.batch_id):
            parcel = _Parcel(
                topic=topic.name,
                source=dataset.topic.name,
                topic_id=read.topic_id,
                partitions=len(topic.end),
                rows=rows,
                key=key,
                cursor=last,
            )
            with span("outbox.publish", dataset=dataset.name, batch_id=last, letters=len(rows)) as publishing:
                transact(producer, partial(_transaction, producer, parcel))
            canonical(
                Line(
                    layer="dlq",
                    table=dataset.name,
                    batch_id=last,
                    first_batch_id=cursor + 1,
                    rows_in=len(rows),
                    rows_out=len(rows),
                    commit_s=publishing.seconds,
                    correlation_ids=[*rows["_correlation_id"].head(1), *rows["_correlation_id"].tail(1)],
                )
            )
            cursor, letters = last, letters + len(rows)
            reasons.update(rows["_error"].str.split(":").list.first())
            report(letters)
        if letters:
            # A commit only decides; to open a producer waits until the broker has marked each Kafka partition.
            open_outbox(dataset, bootstrap_servers=bootstrap_servers)
    return Published(topic=topic.name, letters=letters, cursor=cursor, reasons=dict(reasons.most_common()))


def _batches(bronze: Table, files: pl.DataFrame, cursor: int, *, newest: int) -> Iterator[tuple[int, pl.DataFrame]]:
    """Poison of whole batches with the last of them, in order; no rows where a file held none that is new."""
    if files.is_empty():
        return
    poison = bronze.rows(files).filter(pl.col("_kind") == specs.POISON)
    counts = poison.filter(pl.col("_batch_id") > cursor).group_by("_batch_id").len().sort("_batch_id").collect()
    ends: list[int] = []
    size = 0
    for batch, count in counts.iter_rows():
        size += count
        if size >= _LETTERS:
            ends.append(batch)
            size = 0
    # All files were looked at, so that one with old poison and new tombstones is not looked at again.
    for last in dict.fromkeys((*ends, newest)):
        rows = poison.filter(pl.col("_batch_id").is_between(cursor + 1, last))
        yield last, rows.sort("_batch_id", "_kafka_partition", "_kafka_offset").collect()
        cursor = last


def _transaction(producer: ck.Producer, parcel: _Parcel) -> None:
    send_letters(producer, parcel)
    commit_letters(producer)


def send_letters(producer: ck.Producer, parcel: _Parcel) -> None:
    """Send letters and cursor; the broker has them all on return, and no reader sees them."""
    for row in parcel.rows.iter_rows(named=True):
        values = {
            "topic": parcel.source,
            "partition": row["_kafka_partition"],
            "offset": row["_kafka_offset"],
            "error": row["_error"],
            "correlation_id": row["_correlation_id"],
            "batch": row["_batch_id"],
            "topic_id": parcel.topic_id,
        }
        received = [(header["key"], header["value"]) for header in row["_headers"] or ()]
        put(
            producer,
            parcel.topic,
            # That of the message; of a source that has grown, the queue may not have it yet.
            partition=row["_kafka_partition"] % parcel.partitions,
            key=row["_key"],
            value=row["_payload"],
            headers=sign(received, LETTER, values),
        )
    # Last, since publishers of other datasets wait for it.
    put(producer, OUTBOX, key=parcel.key, value=cursors.record(parcel.cursor))
    flush(producer)


def commit_letters(producer: ck.Producer) -> None:
    """Make letters and cursor final."""
    patiently(producer.commit_transaction)
