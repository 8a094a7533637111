"""Letters that are never to be sent again, as who they are about is forgotten: each gets a receipt, as if it had been."""

from __future__ import annotations

from functools import partial

import confluent_kafka as ck
import polars as pl

from dagster_project.contract.model import Dataset
from dagster_project.outbox.headers import RECEIPT, sign
from dagster_project.outbox.letters import read_letters
from dagster_project.outbox.producer import open_outbox
from dagster_project.topics.broker import Broker
from dagster_project.topics.derived import dead_letters
from dagster_project.topics.offsets import Offsets, place
from dagster_project.topics.patience import own_errors, patiently
from dagster_project.topics.transactions import flush, put, transact


def withhold(dataset: Dataset, offsets: Offsets, *, topic_id: str, bootstrap_servers: str) -> pl.DataFrame:
    """Keep letters from being replayed; returns those that the queue still holds, as `read_letters` does.

    Args:
        offsets: of the messages that failed; `topic_id` says of which topic.

    Raises:
        KafkaError: no broker, or another publisher took over; the next call writes what is missing.
    """
    queue = dead_letters(dataset).name
    if not offsets or queue not in Broker(bootstrap_servers).topics([queue]):
        return pl.DataFrame()
    with own_errors(queue, servers=bootstrap_servers):
        producer = open_outbox(dataset, bootstrap_servers=bootstrap_servers)
        letters = read_letters(dataset, bootstrap_servers=bootstrap_servers, settled=True)
        places = letters.select(place()).to_series().to_numpy()
        own = letters.filter(pl.col("topic_id") == topic_id, pl.Series(offsets.has(places), dtype=pl.Boolean))
        fresh = own.filter(pl.col("replayed_at").is_null())
        if not fresh.is_empty():
            transact(producer, partial(_transaction, producer, fresh, queue))
    return own


def _transaction(producer: ck.Producer, letters: pl.DataFrame, queue: str) -> None:
    for row in letters.iter_rows(named=True):
        values = {
            "topic": row["topic"],
            "partition": row["_kafka_partition"],
            "offset": row["_kafka_offset"],
            "topic_id": row["topic_id"],
            "replayed_as_attempt": 0,  # it was not
        }
        # Without the message's key, which may name who is forgotten.
        put(producer, queue, partition=row["dlq_partition"], key=None, headers=sign((), RECEIPT, values))
    flush(producer)
    patiently(producer.commit_transaction)
