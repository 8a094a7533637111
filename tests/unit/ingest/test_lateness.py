"""How late an event is depends on what stands before it in its Kafka partition for its region, and on nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog, Dataset
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.lateness import cursors_of, measure, newest_events
from tests.unit.lakes import EPOCH, Lake, Message, fetched
from tests.unit.lateness import event, late, newest, newest_us, topics

DAY = 24 * 60
MINUTE_US = 60_000_000


def read(
    dataset: Dataset, batches: Sequence[Sequence[Message]]
) -> tuple[dict[tuple[int, int], int | None], dict[str, int]]:
    """By place, how late Bronze calls each message, batch by batch; and the cursors in the end."""
    found: dict[tuple[int, int], int | None] = {}
    cursors: dict[str, int] = {"kafka/c/t/0/next": 7}
    for messages in batches:
        rows = place(dataset, fetched(messages), Decoder(dataset.columns))
        column, moved = measure(dataset, rows, newest_events(cursors))
        found |= zip(rows.select("_kafka_partition", "_kafka_offset").iter_rows(), column, strict=True)
        cursors |= cursors_of(moved)
    return found, cursors


@given(topic=topics(), data=st.data())
def test_any_batches_give_what_a_loop_over_the_topic_gives(
    catalog: Catalog, topic: list[Message], data: st.DataObject
) -> None:
    inner = range(1, len(topic))
    cuts = sorted(data.draw(st.sets(st.sampled_from(inner), max_size=5)) if inner else ())
    batches = [topic[first:last] for first, last in pairwise([0, *cuts, len(topic)])]
    # The fetcher gives one Kafka partition after the other.
    batches = [sorted(batch, key=lambda message: message.partition) for batch in batches]
    found, cursors = read(catalog.datasets[0], batches)
    assert found == late(topic)
    assert newest_events(cursors) == newest_us(topic)


def lateness(dataset: Dataset, *messages: Message) -> list[int | None]:
    """In minutes."""
    found, _ = read(dataset, [messages])
    assert found == late(messages)
    return [None if value is None else value // MINUTE_US for value in found.values()]


def test_what_is_within_the_allowed_lateness_is_in_time(catalog: Catalog) -> None:
    dataset = catalog.datasets[0]
    assert lateness(dataset, event(0, 60), event(1, 50), event(2, 49), event(3, 60)) == [None, None, 11, None]
    patient = replace(dataset, allowed_lateness=dt.timedelta(minutes=11))
    assert read(patient, [[event(0, 60), event(1, 49)]])[0] == {(0, 0): None, (0, 1): None}


def test_regions_and_kafka_partitions_are_measured_each_by_itself(catalog: Catalog) -> None:
    messages = [
        event(0, 600),
        event(1, 5, region="us"),
        event(2, 6, region="us"),
        event(0, 7, partition=1),
        event(1, 8, partition=1),
    ]
    assert lateness(catalog.datasets[0], *messages) == [None] * 5


def test_a_region_that_comes_back_after_six_hours_is_not_late_against_itself(catalog: Catalog) -> None:
    # What the others have sent meanwhile is of no matter, nor when its own events reach the broker.
    messages = [
        event(0, 1, region="us"),
        *(event(n, 60 * n) for n in range(1, 7)),
        *(event(6 + n, 1 + n, sent=361, region="us") for n in range(1, 9)),
    ]
    assert lateness(catalog.datasets[0], *messages) == [None] * len(messages)


def test_a_dead_devices_week_is_late_and_makes_nobody_else_so(catalog: Catalog) -> None:
    week = 7 * DAY
    messages = [
        event(0, week + 1),
        event(1, 30, sent=week + 2),
        event(2, 31, sent=week + 2),
        event(3, week + 2),
    ]
    assert lateness(catalog.datasets[0], *messages) == [None, week - 29, week - 30, None]


def test_a_clock_in_the_future_makes_nobody_late(catalog: Catalog) -> None:
    messages = [event(0, 60), event(1, 90 * DAY, sent=61), event(2, 61), event(3, 62), event(4, 45, sent=62)]
    assert lateness(catalog.datasets[0], *messages) == [None, None, None, None, 17]
    assert newest(messages) == {(0, "eu"): EPOCH + dt.timedelta(minutes=62)}


def test_bronze_keeps_the_newest_event_of_each_kafka_partition_and_region_beside_its_cursor(lake: Lake) -> None:
    lake.arrive(event(0, 30), event(1, 5, region="us"), event(0, 7, partition=1))
    before = lake.bronze.cursors()
    assert newest_events(before).keys() == {(0, "eu"), (0, "us"), (1, "eu")}
    lake.arrive(event(2, 29), event(3, 6, region="us"))
    after = lake.bronze.cursors()
    assert {name for name in after if after[name] != before[name]} >= {"batch", "watermark/0/us"}
    assert [after[name] == before[name] for name in ("watermark/0/eu", "watermark/1/eu")] == [True, True]


def test_a_table_of_before_gains_the_column_and_goes_on(lake: Lake) -> None:
    lake.arrive(event(0, 60))
    # As an earlier release has left it: without the column, without the cursors.
    old = lake.bronze
    rows = old.rows().drop("_late_us").collect()
    spec = replace(old.spec, name="older", schema={n: t for n, t in old.spec.schema.items() if n != "_late_us"})
    older = type(old).open(spec, storage=lake.storage)
    older.commit(rows, cursors=dict(lake.cursor.to_table()))
    again = type(old).open(replace(old.spec, name="older"), storage=lake.storage)
    assert newest_events(again.cursors()) == {}
    assert again.rows().collect()["_late_us"].to_list() == [None]
    column, moved = measure(lake.dataset, rows, newest_events(again.cursors()))
    assert column.to_list() == [None]
    again.commit(rows.with_columns(column), cursors=cursors_of(moved))
    assert again.rows().select(pl.len()).collect().item() == 2
    assert newest_events(again.cursors()).keys() == {(0, "eu")}
