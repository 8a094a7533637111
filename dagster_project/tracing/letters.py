"""The letter of a message that is poison, and what it was sent again as."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence

from dagster_project.outbox.headers import replays
from dagster_project.outbox.letters import read_letters
from dagster_project.topics.derived import dead_letters
from dagster_project.tracing.messages import headers, origin_of
from dagster_project.tracing.story import Step
from dagster_project.tracing.tables import PLACE, Row, Tables

# A letter is written after the batch that its message came with, by another clock, perhaps.
_SKEW = dt.timedelta(minutes=5)


def letters(tables: Tables, row: Row, family: Sequence[Row], *, bootstrap_servers: str) -> Iterator[Step]:
    """What the dead-letter queue tells of one message.

    Args:
        family: messages that were asked for, among them those that it was sent again as.

    Raises:
        KafkaError: the broker does not answer, or there is no queue.
    """
    cursor, dataset = tables.cursor, tables.dataset
    assert cursor is not None
    found = read_letters(dataset, bootstrap_servers=bootstrap_servers, since=row["_ingested_at"] - _SKEW)
    own = [
        letter
        for letter in found.iter_rows(named=True)
        if (letter["topic_id"], *(letter[name] for name in PLACE)) == (cursor.topic_id, *(row[name] for name in PLACE))
    ]
    queue = dead_letters(dataset).name
    for letter in own[:1]:
        place = f"Kafka partition {letter['dlq_partition']}, offset {letter['dlq_offset']}"
        yield Step(
            stage="letter",
            at=letter["written_at"],
            where=queue,
            text=f"a letter in {queue}, {place}",
            facts={"partition": letter["dlq_partition"], "offset": letter["dlq_offset"], "attempt": letter["attempt"]},
        )
        if letter["replayed_at"] is not None:
            yield _replayed(tables, row, family, at=letter["replayed_at"])
    if not own:
        text = f"no letter in {queue} yet, or not any more"
        yield Step(stage="letter", at=None, where=queue, text=text)


def _replayed(tables: Tables, row: Row, family: Sequence[Row], *, at: dt.datetime) -> Step:
    topic = tables.dataset.topic.name
    attempt = replays(headers(row))[1] + 1
    copies = [other for other in family if origin_of(other, topic) == origin_of(row, topic)]
    (place,) = [
        {"partition": other[PLACE[0]], "offset": other[PLACE[1]]}
        for other in copies
        if replays(headers(other))[1] == attempt
    ] or [None]
    text = (
        "sent once more, or withheld; Bronze has not read it"
        if place is None
        else (f"sent once more, to Kafka partition {place['partition']}, offset {place['offset']}")
    )
    return Step(stage="replayed", at=at, where=topic, text=text, facts={"as": place, "attempt": attempt})
