"""The topics that follow from a contract beside its own: the dead-letter queue, and the outbox's cursors."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from dagster_project.contract.model import Dataset, Topic

# How far each dead-letter queue was published, the last record of each key; one Kafka partition holds them all.
OUTBOX = "lakehouse.outbox"
# A letter is its message with headers added, and a message that was compressed well may be far above the default of
# 1 MiB when it is packed anew: what the source took, the queue must take.
_LETTER_BYTES = 16 * 1024 * 1024
# The same whatever datasets there are, with the replicas of a contract that does not say how many.
_CURSORS = Topic(
    name=OUTBOX,
    partitions=1,
    replication_factor=3,
    min_insync_replicas=2,
    # A compacted topic keeps the last record of each key for ever; Kafka wants a number all the same, its own default.
    retention=dt.timedelta(days=7),
    cleanup_policy="compact",
)


def dead_letters(dataset: Dataset) -> Topic:
    """The dead-letter queue of a dataset; it keeps letters as long as Bronze keeps what they were made of."""
    source = dataset.topic
    return Topic(
        name=f"{source.name}.dlq",
        partitions=source.partitions,
        replication_factor=source.replication_factor,
        min_insync_replicas=source.min_insync_replicas,
        retention=dataset.slo.retention,
        max_message_bytes=_LETTER_BYTES,
    )


def wanted(datasets: Sequence[Dataset]) -> list[Topic]:
    """All topics that datasets need."""
    own = [topic for dataset in datasets for topic in (dataset.topic, dead_letters(dataset))]
    return [*own, _CURSORS] if own else []
