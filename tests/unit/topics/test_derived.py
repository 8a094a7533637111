"""The topics that follow from a contract."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from dagster_project.contract.model import Catalog
from dagster_project.topics.derived import OUTBOX, dead_letters, wanted
from dagster_project.topics.plan import plan


def test_a_queue_is_laid_out_as_its_topic_and_keeps_letters_as_long_as_bronze(catalog: Catalog) -> None:
    (dataset,) = catalog.datasets
    topic = replace(dataset.topic, partitions=5, replication_factor=3, min_insync_replicas=2, cleanup_policy="compact")
    dataset = replace(dataset, topic=topic, slo=replace(dataset.slo, retention=dt.timedelta(days=90)))
    queue = dead_letters(dataset)
    assert (queue.name, queue.partitions, queue.replication_factor) == ("test.readings.dlq", 5, 3)
    step = plan(queue, None, brokers=3)
    assert step.config == {
        "min.insync.replicas": "2",
        "retention.ms": str(90 * 24 * 3600 * 1000),
        "cleanup.policy": "delete",
        "max.message.bytes": str(16 * 1024 * 1024),
    }


def test_all_datasets_share_one_topic_of_cursors_that_does_not_depend_on_them(catalog: Catalog) -> None:
    (dataset,) = catalog.datasets
    one = replace(dataset, topic=replace(dataset.topic, name="one", replication_factor=1, min_insync_replicas=1))
    two = replace(dataset, topic=replace(dataset.topic, name="two"))
    topics = wanted([one, two])
    assert [topic.name for topic in topics] == ["one", "one.dlq", "two", "two.dlq", OUTBOX]
    # Else whoever applies the topics of one dataset would change it for the others.
    assert topics[-1] == wanted([one])[-1]
    assert (topics[-1].partitions, topics[-1].cleanup_policy) == (1, "compact")
    assert wanted([]) == []
