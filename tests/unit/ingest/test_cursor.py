"""Where to read on, and when not to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.errors import OffsetLossError, TopicIdentityError
from dagster_project.ingest import cursor as cursors
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets

CURSOR = Cursor(cluster_id="c_-1", topic_id="T_o-p", start={0: 5, 1: 0}, next={0: 10, 1: 0}, batch_id=3)
TOPIC = Topic(name="t", cluster_id="c_-1", topic_id="T_o-p", first={0: 5, 1: 0}, end={0: 12, 1: 4})
identities = st.text("abzAZ09_-", min_size=1, max_size=22)
offsets = st.dictionaries(st.integers(0, 20), st.integers(0, 2**60), min_size=1, max_size=5)


def resume(cursor: Cursor | None, topic: Topic, lost: Offsets | None = None) -> Cursor:
    return cursors.resume(cursor, topic, dataset="d", lost=lost or Offsets())


@given(identities, identities, offsets, st.integers(0, 2**40))
def test_a_table_gives_back_what_it_was_given(cluster: str, topic: str, found: dict[int, int], batch: int) -> None:
    cursor = Cursor(
        cluster_id=cluster, topic_id=topic, start=found, next={p: o + 1 for p, o in found.items()}, batch_id=batch
    )
    assert Cursor.from_table({**cursor.to_table(), "changed/2026-01-01/eu": 4}) == cursor


def test_before_the_first_batch_there_is_no_cursor() -> None:
    assert Cursor.from_table({}) is None
    assert resume(None, TOPIC) == Cursor(cluster_id="c_-1", topic_id="T_o-p", start=TOPIC.first, next=TOPIC.first)


def test_cursors_of_two_topics_are_refused() -> None:
    with pytest.raises(TopicIdentityError, match="several topics"):
        Cursor.from_table({**CURSOR.to_table(), **replace(CURSOR, topic_id="other").to_table()})


def test_reading_goes_on_at_the_cursor() -> None:
    assert resume(CURSOR, TOPIC) == CURSOR
    # What retention deletes after it was read is no loss.
    assert resume(CURSOR, replace(TOPIC, first={0: 10, 1: 0})) == CURSOR


def test_new_kafka_partitions_are_read_from_their_start() -> None:
    found = resume(CURSOR, replace(TOPIC, first={0: 5, 1: 0, 2: 7}, end={0: 12, 1: 4, 2: 9}))
    assert found == replace(CURSOR, start={0: 5, 1: 0, 2: 7}, next={0: 10, 1: 0, 2: 7})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"topic_id": "new"},
            TopicIdentityError,
            "has id new; Bronze was read from id T_o-p (the cluster is the same)",
        ),
        ({"cluster_id": "new"}, TopicIdentityError, "(the cluster is another one)"),
        ({"first": {0: 11, 1: 2}}, OffsetLossError, "partition 0: 10 to 10, partition 1: 0 to 1"),
        ({"first": {0: 11, 1: 0}}, OffsetLossError, "lakehouse loss accept d"),
        ({"end": {0: 9, 1: 4}}, TopicIdentityError, "ends before the cursor in partitions [0]"),
    ],
)
def test_reading_does_not_go_on(changes: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error) as refused:
        resume(CURSOR, replace(TOPIC, **changes))  # pyright: ignore[reportArgumentType] fields of a topic
    assert message in str(refused.value)


def test_reading_goes_on_over_declared_losses_alone() -> None:
    topic = replace(TOPIC, first={0: 12, 1: 2}, end={0: 20, 1: 4})
    declared = Offsets.of_bounds({0: 10, 1: 0}, {0: 12, 1: 2})
    assert resume(CURSOR, topic, declared) == replace(CURSOR, next={0: 12, 1: 2})
    with pytest.raises(OffsetLossError, match="partition 0: 11 to 11\n"):
        resume(CURSOR, topic, Offsets.of_bounds({0: 10, 1: 0}, {0: 11, 1: 2}))
    # What retention has deleted since is a new loss.
    with pytest.raises(OffsetLossError, match="partition 0: 12 to 12, partition 1: 2 to 2"):
        resume(CURSOR, replace(topic, first={0: 13, 1: 3}), declared)


def test_lag() -> None:
    assert lag(None, TOPIC) == 7 + 4
    assert lag(CURSOR, TOPIC) == 2 + 4
    assert lag(CURSOR, replace(TOPIC, first={0: 5, 1: 0, 2: 3}, end={0: 10, 1: 0, 2: 5})) == 2
    assert lag(CURSOR, replace(TOPIC, topic_id="new")) == 11
