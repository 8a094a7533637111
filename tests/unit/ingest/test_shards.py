"""Whose Kafka partitions are whose, whatever the plan and however many there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.errors import ConfigurationError
from dagster_project.ingest import unread
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.ingest.shards import WHOLE, Shard, shards
from dagster_project.topics.broker import Topic

counts = st.integers(1, 16)
any_shard = counts.flatmap(lambda of: st.integers(0, of - 1).map(lambda number: Shard(number=number, of=of)))
offsets = st.dictionaries(st.integers(0, 60), st.integers(0, 2**40), max_size=30)


@given(counts, offsets)
def test_each_kafka_partition_is_one_shards(count: int, known: dict[int, int]) -> None:
    parts = [shard.own(known) for shard in shards(count)]
    assert sum(map(len, parts)) == len(known)
    assert {partition: offset for part in parts for partition, offset in part.items()} == known


@given(any_shard, st.integers(1, 60), st.integers(0, 60))
def test_kafka_partitions_that_come_change_nobodys(shard: Shard, before: int, more: int) -> None:
    old, new = (shard.own(dict.fromkeys(range(count), 0)) for count in (before, before + more))
    assert {partition for partition in new if partition < before} == set(old)


@given(any_shard, any_shard)
def test_two_shards_meet_where_they_may_have_a_kafka_partition_in_common(one: Shard, other: Shard) -> None:
    every = dict.fromkeys(range(one.of * other.of), 0)
    assert one.meets(other) == other.meets(one) == bool(one.own(every).keys() & other.own(every).keys())


@given(any_shard)
def test_a_shard_is_read_as_it_is_written(shard: Shard) -> None:
    assert Shard.parse(str(shard)) == shard
    assert shard.whole == (shard == WHOLE)


@pytest.mark.parametrize("text", ["", "2/2", "-1/2", "1", "a/b", "0/0", "1/2/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="is no shard of a topic"):
        Shard.parse(text)


@given(counts, offsets, st.integers(0, 100))
def test_lags_of_shards_are_the_lag_of_the_topic(count: int, known: dict[int, int], behind: int) -> None:
    first = dict.fromkeys(known, 0)
    end = {partition: offset + behind for partition, offset in known.items()}
    topic = Topic(name="t", cluster_id="c", topic_id="i", first=first, end=end)
    cursor = Cursor(cluster_id="c", topic_id="i", start=first, next=known, batch_id=1)
    assert sum(lag(cursor, shard.topic(topic)) for shard in shards(count)) == lag(cursor, topic) == behind * len(known)
    assert [shard.cursor(cursor).next for shard in shards(count)] == [shard.own(known) for shard in shards(count)]


def test_one_run_that_reads_all_says_nothing_of_what_is_unread() -> None:
    assert unread.cursors_of({0}, of=[0, 1], known={}, shared=False) == {}
    said = unread.cursors_of({0}, of=[0, 1], known={}, shared=True)
    assert said == {"unread/0": 1, "unread/1": 0}
    assert unread.unread({**said, "batch": 3}) == {0}
    assert unread.cursors_of({0}, of=[0, 1], known=said, shared=True) == {}
    # But it puts right what several runs have left, and never begins with it.
    assert unread.cursors_of({2}, of=[0, 1, 2], known=said, shared=False) == {"unread/0": 0}
