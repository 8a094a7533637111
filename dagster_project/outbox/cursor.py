"""How far Bronze's poison was published: the last Bronze batch of each dead-letter queue, kept in a compacted topic.

Not a consumer group's offset: Kafka forgets those after a week without a commit, and poison is rare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError
from dagster_project.outbox.reading import messages
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
    for batch in messages(OUTBOX, bootstrap_servers=bootstrap_servers, settled=settled):
        for name, value, offset in batch.select("_key", "_payload", "_kafka_offset").iter_rows():
            try:
                found[name.decode()] = int(json.loads(value)["batch"])
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise KafkaError(
                    f"{OUTBOX}, offset {offset}: {value!r} under key {name!r} is no cursor",
                    expected='a record such as {"batch": 7}, written by the outbox alone',
                    remedy="find out who else writes to this topic; a newer record of the key does not mend this",
                ) from error
    return found
