"""How a message came in: when it was sent, with what headers, and the commit of Bronze that has it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from dagster_project.contract.model import Dataset
from dagster_project.ingest.cursor import BATCH
from dagster_project.lake import specs
from dagster_project.outbox.headers import replays
from dagster_project.tracing.commits import step
from dagster_project.tracing.messages import headers
from dagster_project.tracing.story import Step
from dagster_project.tracing.tables import PLACE, Row, Tables

_US = 1_000_000


def produced(dataset: Dataset, row: Row, *, reveal: bool) -> Step:
    """The sending of a message, by the timestamp of its record.

    Args:
        reveal: tell values of headers also of a dataset with confidential columns.
    """
    topic, (partition, offset) = dataset.topic.name, (row[name] for name in PLACE)
    origin, attempt = replays(headers(row))
    text = f"sent to {topic}, Kafka partition {partition}, offset {offset}"
    if origin is not None:
        text += f", by attempt {attempt} to replay {origin}"
    hidden = bool(dataset.protected) and not reveal
    names = [name for name, _ in headers(row)]
    own = {name: "hidden" if hidden else (value or b"").decode(errors="replace") for name, value in headers(row)}
    if names:
        text += "; headers " + ", ".join(f"{name}={value}" for name, value in own.items())
    return Step(
        stage="produced",
        at=row["_kafka_timestamp"],
        where=topic,
        text=text,
        facts={"partition": partition, "offset": offset, "headers": own, "replay_of": origin, "attempt": attempt},
    )


def ingested(tables: Tables, row: Row) -> Iterator[Step]:
    """The commit that brought a message to Bronze; nothing of what has no row there."""
    if "_kind" not in row:
        return
    batch, kind = row["_batch_id"], row["_kind"]
    found = tables.bronze.history.arrival(BATCH, batch)
    commit = None if found is None else found.commit
    text = {
        specs.EVENT: f"read in batch {batch}",
        specs.TOMBSTONE: f"read in batch {batch}, as a delete",
        specs.POISON: f"read in batch {batch}, and poison: {row[specs.ERROR]}",
    }[kind]
    if (late := late_s(row)) is not None:
        text += f"; late by {in_words(late)}"
    yield step(
        "bronze",
        tables.bronze.name,
        text,
        commit=commit,
        at=row["_ingested_at"],
        facts={"batch": batch, "kind": kind, "error": row[specs.ERROR], "late_s": late},
    )


def late_s(row: Row) -> float | None:
    """By how many seconds a message was late, `None` if it was in time."""
    return None if row[specs.LATE] is None else row[specs.LATE] / _US


def in_words(seconds: float) -> str:
    """A span of time, such as `2:03:04` or `3 days, 0:00:10`."""
    return str(dt.timedelta(seconds=round(seconds)))
