"""How far Bronze's poison was published: the last Bronze batch of each dead-letter queue, kept in a compacted topic.

Not a consumer group's offset: Kafka forgets those after a week without a commit, and poison is rare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError
from dagster_project.outbox.reading import Message, messages
from dagster_project.topics.derived import OUTBOX, dead_letters

# Before the first batch, as in Bronze.
NOTHING = -1


def key(dataset: Dataset, topic_id: str) -> str:
    """Of a dataset's cursor; batches of a topic that was made anew are counted from the beginning."""
    return f"{dead_letters(dataset).name}/{topic_id}"


def record(batch: int) -> bytes:
    return json.dumps({"batch": batch}).encode()


def cursors(*, bootstrap_servers: str, settled: bool) -> Mapping[str, int]:
    """The last published batch by `key`.

    Args:
        settled: as of `messages`; without it a cursor may be older than the truth.

    Raises:
        KafkaError: no broker, no topic, an open transaction, or a record that is none of ours.
    """
    found: dict[str, int] = {}
    for message in messages(OUTBOX, bootstrap_servers=bootstrap_servers, settled=settled):
        read = _cursor(message)
        if read is None:
            raise KafkaError(
                f"{OUTBOX}, offset {message.offset}: {message.value!r} under key {message.key!r} is no cursor",
                expected='a record such as {"batch": 7}, written by the outbox alone',
                remedy="find out who else writes to this topic; a newer record of the key does not mend this",
            )
        name, batch = read
        found[name] = batch
    return found


def _cursor(message: Message) -> tuple[str, int] | None:
    if message.key is None or message.value is None:
        return None
    try:
        return message.key.decode(), int(json.loads(message.value)["batch"])
    except (KeyError, TypeError, ValueError):
        return None
