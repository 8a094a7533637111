"""What is asked of a broker to read its log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafka.protocol.consumer import FetchRequest

_READ_COMMITTED = 1
# The newest version of Fetch that names topics, not their ids, and tells of aborted transactions.
_VERSION = 11
# One answer, and the share of one Kafka partition in it: what is held in memory at a time.
ANSWER_BYTES, _PARTITION_BYTES = 64 << 20, 16 << 20
# That an answer without a record may be waited for.
_WAIT_S = 0.2


def fetch_request(topic: str, offsets: Mapping[int, int]) -> FetchRequest:
    """To read committed records of one topic, by Kafka partition from an offset on."""
    from kafka.protocol.consumer import FetchRequest

    kind = FetchRequest.FetchTopic
    partitions = [
        kind.FetchPartition(
            partition=partition,
            current_leader_epoch=-1,
            fetch_offset=offset,
            log_start_offset=-1,
            partition_max_bytes=_PARTITION_BYTES,
        )
        for partition, offset in offsets.items()
    ]
    return FetchRequest(
        replica_id=-1,
        max_wait_ms=int(_WAIT_S * 1000),
        min_bytes=1,
        max_bytes=ANSWER_BYTES,
        isolation_level=_READ_COMMITTED,
        session_id=0,
        session_epoch=-1,
        topics=[kind(topic=topic, partitions=partitions)],
        forgotten_topics_data=[],
        rack_id="",
        max_version=_VERSION,
    )
