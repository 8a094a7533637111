"""Letters back to the topic they came from, exactly once: the messages and the receipts are one Kafka transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import confluent_kafka as ck
import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.outbox.headers import RECEIPT, resent, sign
from dagster_project.outbox.letters import read_letters, where
from dagster_project.outbox.producer import open_outbox, queue
from dagster_project.topics.broker import Broker
from dagster_project.topics.patience import own_errors, patiently
from dagster_project.topics.transactions import flush, put, transact

# Letters of one transaction: far less than a second, so that other consumers of the topic are not held up.
_LETTERS = 1_000
# A message that failed as often as this after somebody had mended something needs more than one further try.
MAX_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class Replay:
    """What one replay did, or would do.

    Attributes:
        replayed: places of letters that were sent, or would be, as `<partition>/<offset>` of the message that failed.
        refused: places of letters that were sent too often already.
        before: how many of the chosen letters an earlier replay had sent.
    """

    topic: str
    replayed: tuple[str, ...]
    refused: tuple[str, ...]
    before: int
    dry_run: bool


def replay(
    dataset: Dataset,
    *,
    bootstrap_servers: str,
    predicate: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
    dry_run: bool = False,
    report: Callable[[int, int], object] = lambda _sent, _total: None,
) -> Replay:
    """Send chosen letters that were not sent again yet. On return, read-committed consumers see all of them.

    Args:
        predicate: SQL over the columns of `read_letters`; all letters without one.
        max_attempts: letters that were sent again this often are refused; the others are sent all the same.
        dry_run: choose, and write nothing.
        report: called at the beginning and after each transaction with the letters sent so far and all of them.

    Raises:
        KafkaError: no broker, a topic is missing, or another publisher or replay took over. What was committed stays,
            and the next replay sends the rest.
        LakeError: the predicate does not run.
    """
    dlq = queue(dataset, bootstrap_servers=bootstrap_servers).name
    source = Broker(bootstrap_servers).topic(dataset.topic.name).name
    with own_errors(source, servers=bootstrap_servers):
        # Opened before the letters are read: from then on nobody else writes a receipt.
        producer = None if dry_run else open_outbox(dataset, bootstrap_servers=bootstrap_servers)
        letters = where(
            read_letters(dataset, bootstrap_servers=bootstrap_servers, settled=producer is not None), predicate
        )
        fresh = letters.filter(pl.col("replayed_at").is_null())
        due, refused = fresh.filter(pl.col("attempt") < max_attempts), fresh.filter(pl.col("attempt") >= max_attempts)
        report(0, len(due))
        if producer is not None and not due.is_empty():
            for start in range(0, len(due), _LETTERS):
                rows = due[start : start + _LETTERS]
                transact(producer, partial(_transaction, producer, rows, source=source, dlq=dlq))
                report(start + len(rows), len(due))
            # As after publishing: all of it can be read on return.
            open_outbox(dataset, bootstrap_servers=bootstrap_servers)
    return Replay(
        topic=source,
        replayed=_places(due),
        refused=_places(refused),
        before=len(letters) - len(fresh),
        dry_run=dry_run,
    )


def _places(letters: pl.DataFrame) -> tuple[str, ...]:
    return tuple(f"{partition}/{offset}" for partition, offset in letters[["_kafka_partition", "_kafka_offset"]].rows())


def _transaction(producer: ck.Producer, letters: pl.DataFrame, *, source: str, dlq: str) -> None:
    send_again(producer, letters, source=source, dlq=dlq)
    commit_replay(producer)


def send_again(producer: ck.Producer, letters: pl.DataFrame, *, source: str, dlq: str) -> None:
    """Send messages and receipts; the broker has them all on return, and no reader sees them."""
    for row in letters.iter_rows(named=True):
        attempt = row["attempt"] + 1
        received = [(header["key"], header["value"]) for header in row["_headers"]]
        # Where its producer put it, whatever that one's partitioner is: messages of a key stay together.
        put(
            producer,
            source,
            partition=row["_kafka_partition"],
            key=row["_key"],
            value=row["_payload"],
            headers=resent(received, origin=row["origin"], attempt=attempt, correlation_id=row["_correlation_id"]),
        )
        values = {
            "topic": row["topic"],
            "partition": row["_kafka_partition"],
            "offset": row["_kafka_offset"],
            "topic_id": row["topic_id"],
            "replayed_as_attempt": attempt,
        }
        # Beside its letter, so that the broker's retention never deletes it first.
        put(producer, dlq, partition=row["dlq_partition"], key=row["_key"], headers=sign((), RECEIPT, values))
    flush(producer)


def commit_replay(producer: ck.Producer) -> None:
    """Make messages and receipts final."""
    patiently(producer.commit_transaction)
