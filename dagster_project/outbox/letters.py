"""The letters of a dead-letter queue as a table: what failed, where, why, and whether it was sent again."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Any

import duckdb
import polars as pl

from dagster_project.contract.dtypes import TIMESTAMP
from dagster_project.contract.model import Dataset
from dagster_project.errors import LakeError
from dagster_project.lake.sandbox import bounded, only, sandbox
from dagster_project.lake.specs import COORDINATES, MESSAGE
from dagster_project.outbox.headers import LETTER, RECEIPT, replays, signed
from dagster_project.outbox.reading import Message, messages
from dagster_project.topics.derived import dead_letters

_LOGGER = logging.getLogger(__name__)
# What makes two letters the same: the place of the message that failed.
PLACE = ("topic_id", "_kafka_partition", "_kafka_offset")
SCHEMA: dict[str, pl.DataType] = {
    "topic": pl.String(),
    "topic_id": pl.String(),
    "_kafka_partition": COORDINATES["_kafka_partition"],
    "_kafka_offset": COORDINATES["_kafka_offset"],
    "_error": pl.String(),
    "_correlation_id": pl.String(),
    "_batch_id": pl.Int64(),
    **MESSAGE,
    "attempt": pl.Int32(),
    "origin": pl.String(),
    "dlq_partition": pl.Int32(),
    "dlq_offset": pl.Int64(),
    "written_at": TIMESTAMP,
}


def read_letters(
    dataset: Dataset, *, bootstrap_servers: str, settled: bool = False, since: dt.datetime | None = None
) -> pl.DataFrame:
    """One row a letter, in the order of the queue.

    Columns: `topic, topic_id, _kafka_partition, _kafka_offset` are the place of the message that failed, `_key, _payload,
    _headers` the message as received, `attempt` how often it had been sent again before it failed here, `origin` where
    it failed first (`<topic>/<partition>/<offset>`), `dlq_partition, dlq_offset, written_at` the letter's own place and
    time, `replayed_at` when it was sent again, null while it was not.

    Args:
        settled, since: as of `messages`.

    Raises:
        KafkaError: no broker, or no queue.
    """
    topic = dead_letters(dataset).name
    letters: list[dict[str, Any]] = []
    receipts: list[dict[str, Any]] = []
    strange: list[str] = []
    for message in messages(topic, bootstrap_servers=bootstrap_servers, settled=settled, since=since):
        # A receipt has no value, but a message that failed may have none either: the headers tell.
        if (receipt := signed(message.headers, RECEIPT)) is not None:
            values = receipt[1]
            place = (values["topic_id"], int(values["partition"]), int(values["offset"]))
            receipts.append({**dict(zip(PLACE, place, strict=True)), "replayed_at": message.at})
        elif (letter := signed(message.headers, LETTER)) is not None:
            letters.append(_letter(message, *letter))
        else:
            strange.append(f"{message.partition}/{message.offset}")
    if strange:
        # Whoever wrote them, the letters beside them are as good as ever.
        _LOGGER.warning("%s has %d records that are no letters, the last at %s", topic, len(strange), strange[-1])
    replayed = pl.DataFrame(receipts, schema={**{name: SCHEMA[name] for name in PLACE}, "replayed_at": TIMESTAMP})
    frame = pl.DataFrame(letters, schema=SCHEMA)
    return frame.join(
        replayed.unique(PLACE, keep="first", maintain_order=True), on=PLACE, how="left", maintain_order="left"
    )


def _letter(message: Message, received: list[tuple[str, bytes | None]], values: dict[str, str]) -> dict[str, Any]:
    origin, attempt = replays(received)
    return {
        "topic": values["topic"],
        "topic_id": values["topic_id"],
        "_kafka_partition": int(values["partition"]),
        "_kafka_offset": int(values["offset"]),
        "_error": values["error"],
        "_correlation_id": values["correlation_id"],
        "_batch_id": int(values["batch"]),
        "_key": message.key,
        "_payload": message.value,
        "_headers": [{"key": key, "value": value} for key, value in received],
        "attempt": attempt,
        "origin": origin or f"{values['topic']}/{values['partition']}/{values['offset']}",
        "dlq_partition": message.partition,
        "dlq_offset": message.offset,
        "written_at": message.at,
    }


def where(letters: pl.DataFrame, predicate: str | None) -> pl.DataFrame:
    """Letters for which an SQL predicate over their columns is true; all of them without one.

    Raises:
        LakeError: the predicate does not run. It reaches no file and no network.
    """
    if predicate is None:
        return letters
    with sandbox() as connection, bounded(connection):
        connection.register("letters", letters.with_row_index("_row").to_arrow())
        try:
            # The line end: a comment at the end of the predicate must not swallow the bracket.
            sql = f"SELECT _row FROM letters WHERE ({predicate}\n)"
            chosen = connection.sql(only(connection, sql)).fetchall()
        except duckdb.Error as error:
            raise LakeError(
                f"the predicate {predicate!r} does not run: {error}",
                expected="SQL over the columns " + ", ".join(letters.columns),
                remedy="correct it, such as --where \"_error LIKE 'region.%' AND written_at > now() - INTERVAL 1 DAY\"",
            ) from error
    return letters[sorted({row for (row,) in chosen})]
