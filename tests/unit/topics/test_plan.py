"""What it takes to bring a topic to what its contract says."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from dagster_project.contract.model import Topic
from dagster_project.errors import KafkaError
from dagster_project.topics.admin import apply
from dagster_project.topics.plan import Existing, plan

TOPIC = Topic(name="t", partitions=4, replication_factor=3, min_insync_replicas=2, retention=dt.timedelta(days=7))
CONFIG = {"min.insync.replicas": "2", "retention.ms": "604800000", "cleanup.policy": "delete"}
AS_WANTED = Existing(partitions=4, replication_factor=3, config=CONFIG)


def test_a_missing_topic_is_created() -> None:
    step = plan(TOPIC, None, brokers=3)
    assert (step.action, step.partitions, step.replication_factor, step.notes) == ("create", 4, 3, ())
    assert step.config == CONFIG


def test_one_broker_holds_one_replica_and_that_is_said() -> None:
    step = plan(TOPIC, None, brokers=1)
    assert (step.action, step.replication_factor) == ("create", 1)
    assert step.config == {**CONFIG, "min.insync.replicas": "1"}  # two would refuse every write
    assert step.notes == ("1 replicas, the contract says 3: enough for development only",)


def test_a_topic_as_wanted_is_kept() -> None:
    step = plan(TOPIC, AS_WANTED, brokers=3)
    assert (step.action, step.config, step.notes) == ("keep", {}, ())


def test_settings_are_corrected_and_only_those() -> None:
    step = plan(TOPIC, replace(AS_WANTED, config={**CONFIG, "retention.ms": "1"}), brokers=3)
    assert (step.action, step.config) == ("configure", {"retention.ms": "604800000"})
    assert step.notes == ("retention.ms is 1, the contract says 604800000",)


def test_partitions_are_added_with_a_warning() -> None:
    step = plan(TOPIC, replace(AS_WANTED, partitions=2, config={}), brokers=3)
    assert (step.action, step.partitions, step.config) == ("grow", 4, CONFIG)
    assert "2 partitions, the contract says 4: keys move to other partitions" in step.notes


def test_partitions_are_never_taken_away() -> None:
    step = plan(TOPIC, replace(AS_WANTED, partitions=8, replication_factor=1), brokers=3)
    assert (step.action, step.partitions) == ("refuse", 8)
    assert "write partitions: 8 into the contract" in step.notes[-1]
    with pytest.raises(KafkaError, match=r"topic 't': .*Kafka cannot take partitions away"):
        apply(step, bootstrap_servers="127.0.0.1:1")
