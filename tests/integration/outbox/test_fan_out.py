"""Other consumers of the topic are not the platform's business: each reads all of it, at its own pace."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import confluent_kafka as ck

from dagster_project.outbox.publish import publish
from dagster_project.sources.orders import Orders
from tests.integration.lake import PATIENCE, Lake, unique
from tests.integration.outbox.topic import Place, consume, place

EVENTS = 2_000


class Reader:
    """A consumer group with offsets of its own, as another team would have it."""

    def __init__(self, topic: str, servers: str) -> None:
        self.group = unique("another-team")
        self._topic, self._servers = topic, servers
        self.seen: Counter[Place] = Counter()

    def read(self, *, most: int | None = None, until: Callable[[], bool], pause: float = 0.0) -> None:
        """Join the group, read on from its offsets, commit what was seen, and leave."""
        consumer = ck.Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self.group,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([self._topic])
        count = 0
        while not until() and (most is None or count < most):
            messages = consumer.consume(50, 0.2)
            for message in messages:
                assert message.error() is None
                self.seen[place(message)] += 1
            if messages:
                consumer.commit(asynchronous=False)
            count += len(messages)
            time.sleep(pause)
        consumer.close()

    def committed(self, partitions: int) -> dict[int, int]:
        consumer = ck.Consumer({"bootstrap.servers": self._servers, "group.id": self.group})
        asked = [ck.TopicPartition(self._topic, number) for number in range(partitions)]
        found = {item.partition: item.offset for item in consumer.committed(asked, PATIENCE)}
        consumer.close()
        return found


def test_each_group_sees_every_committed_message_once(make_lake: Callable[[str], Lake]) -> None:
    lake = make_lake("orders")
    topic = lake.dataset.topic
    source = Orders(dataset=lake.dataset, events=EVENTS, seed=3, poison=0.05)
    quick, slow = Reader(topic.name, lake.servers), Reader(topic.name, lake.servers)
    deadline = time.monotonic() + 4 * PATIENCE

    def whole(reader: Reader) -> Callable[[], bool]:
        return lambda: len(reader.seen) >= EVENTS or time.monotonic() > deadline

    def lagging() -> None:
        slow.read(most=200, until=whole(slow), pause=0.2)
        slow.read(most=300, until=whole(slow), pause=0.1)  # it was restarted
        slow.read(until=whole(slow))

    threads = [threading.Thread(target=quick.read, kwargs={"until": whole(quick)}), threading.Thread(target=lagging)]
    for thread in threads:
        thread.start()
    for limit in (500, 1_000, EVENTS):
        lake.produce(source, limit=limit)
        lake.ingest()
        publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)
    for thread in threads:
        thread.join()

    wanted = Counter(consume(topic.name, lake.servers).keys())
    assert len(wanted) == EVENTS
    assert quick.seen == wanted
    assert slow.seen == wanted
    assert len(lake.bronze()) == EVENTS
    # What the platform does afterwards leaves their offsets where they are.
    before = [reader.committed(topic.partitions) for reader in (quick, slow)]
    lake.ingest()
    publish(lake.dataset, storage=lake.storage, bootstrap_servers=lake.servers)
    assert [reader.committed(topic.partitions) for reader in (quick, slow)] == before
