"""Reading a dead-letter queue for the verdict, with nothing of the platform but the names of its headers."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from typing import cast

import confluent_kafka as ck

from dagster_project.sources.oracle import Place
from tests.chaos.scene import Scene

_PATIENCE_SECONDS = 30.0
_PREFIX = "lakehouse.dlq."


def letters(scene: Scene) -> Counter[Place]:
    """How many committed letters there are of each message of the scene's present topic."""
    found: Counter[Place] = Counter()
    topic_id = scene.topic_id()
    settings = {
        "bootstrap.servers": scene.world.servers,
        "group.id": "chaos-letters",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "log_level": 0,
    }
    with closing(ck.Consumer(settings)) as consumer:
        there = consumer.list_topics(f"{scene.topic}.dlq", timeout=_PATIENCE_SECONDS).topics[f"{scene.topic}.dlq"]
        places = [ck.TopicPartition(there.topic, number, ck.OFFSET_BEGINNING) for number in there.partitions]
        consumer.assign(places)
        ended: set[int | None] = set()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(ended) < len(places):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{there.topic} cannot be read to its end")
            message = consumer.poll(1.0)
            if message is None:
                continue
            if (error := message.error()) is not None:
                if error.code() == ck.KafkaError._PARTITION_EOF:
                    ended.add(message.partition())
                continue
            headers = cast("list[tuple[str, bytes | None]]", message.headers() or [])
            values = {name.removeprefix(_PREFIX): value or b"" for name, value in headers}
            if values.get("topic_id") == topic_id.encode():
                found[int(values["partition"]), int(values["offset"])] += 1
    return found
