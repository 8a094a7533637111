"""What an event made of the marts: by which version, and whether it was the first word on a table partition."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from dagster_project.tracing.journey import trace
from dagster_project.tracing.story import Event, Step
from tests.unit.lakes import Lake, reading
from tests.unit.lateness import event


def of(lake: Lake, what: str) -> list[Event]:
    return list(trace(what, catalog=lake.catalog, storage=lake.storage).events)


def gold(event: Event) -> list[Step]:
    return [step for step in event.steps if step.stage == "gold"]


def as_run(lake: Lake, run: str) -> None:
    """One batch through all tables, by one run."""
    own = replace(lake, storage=replace(lake.storage, run_id=run))
    own.refine()
    own.compute()


def test_a_late_event_restates_the_table_partition_and_a_later_one_changes_it_again(lake: Lake) -> None:
    lake.arrive(event(0, 60, identity="a"))
    as_run(lake, "first")
    lake.arrive(event(1, 10, sent=62, identity="late"))
    as_run(lake, "second")
    lake.arrive(event(2, 61, sent=63, identity="b"), event(3, 1, sent=64, identity="x", region="us"))
    as_run(lake, "third")

    (first,), (late,), (third,) = of(lake, "id=a"), of(lake, "id=late"), of(lake, "id=b")

    assert (first.late_s, late.late_s) == (None, 50 * 60)
    stories = {
        one.offset: [(step.version, step.run, step.facts["restated"]) for step in gold(one)]
        for one in (first, late, third)
    }
    assert stories == {0: [(1, "first", False)], 1: [(2, "second", True)], 2: [(3, "third", True)]}
    assert [step.facts.get("newest_change") for one in (first, late, third) for step in gold(one)] == [3, 3, None]
    assert "table partition 2026-01-01/eu" in gold(late)[0].text
    # Other table partitions have a story of their own.
    (other,) = of(lake, "id=x")
    assert [(step.version, step.facts["restated"]) for step in gold(other)] == [(3, False)]
    assert late.steps[1].text.endswith("late by 0:50:00")
    silver = next(step for step in late.steps if step.stage == "silver")
    assert (silver.version, silver.run) == (2, "second")


def test_who_wins_and_who_gave_way_when(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=1), reading(1, "b", at=5))
    as_run(lake, "first")
    lake.arrive(reading(2, "a", at=3))
    as_run(lake, "second")
    lake.arrive(reading(3, "a", at=2))
    as_run(lake, "third")

    old, new, older = of(lake, "id=a")

    assert [(one.offset, one.place) for one in (old, new, older)] == [
        (0, "superseded"),
        (2, "silver_rows"),
        (3, "superseded"),
    ]
    told = {
        one.offset: [(s.stage, s.version, s.run) for s in one.steps if s.stage in {"silver", "superseded"}]
        for one in (old, new, older)
    }
    assert told == {
        0: [("silver", 1, "first"), ("superseded", 2, "second")],
        2: [("silver", 2, "second")],
        3: [("superseded", 3, "third")],
    }
    assert old.now == "not in silver/readings: superseded by 0/2"
    # What never was in Silver is in no mart.
    assert (len(gold(old)), len(gold(new)), len(gold(older))) == (1, 1, 0)


def test_the_message_that_took_its_place_first_is_named_and_not_the_one_that_has_it_now(lake: Lake) -> None:
    for offset, (at, run) in enumerate([(1, "first"), (5, "second"), (3, "third"), (9, "fourth")]):
        lake.arrive(reading(offset, "a", at=at))
        as_run(lake, run)

    told = {
        one.offset: [(s.stage, s.run, s.facts.get("by", {}).get("offset")) for s in one.steps[2:] if s.stage != "gold"]
        for one in of(lake, "id=a")
    }

    assert told == {
        0: [("silver", "first", None), ("superseded", "second", 1)],
        1: [("silver", "second", None), ("superseded", "fourth", 3)],
        2: [("superseded", "third", 1)],  # at minute 3 there was one of minute 5 already
        3: [("silver", "fourth", None)],
    }
    assert {one.offset: [step.run for step in gold(one)] for one in of(lake, "id=a")} == {
        0: ["first"],
        1: ["second"],
        2: [],
        3: ["fourth"],
    }


def test_what_quarantine_has_takes_nobodys_place(lake: Lake) -> None:
    for offset, (at, level, run) in enumerate([(1, 1, "first"), (5, -1, "second"), (9, 1, "third")]):
        lake.arrive(reading(offset, "a", at=at, level=level))
        as_run(lake, run)
    first = of(lake, "test.readings/0/0")[0]
    (superseded,) = (step for step in first.steps if step.stage == "superseded")
    assert (superseded.run, superseded.facts["by"]["offset"]) == ("third", 2)


def test_what_is_still_to_come_is_told_last(lake: Lake) -> None:
    lake.arrive(reading(0, "a"))
    (pending,) = of(lake, "id=a")
    assert ([step.stage for step in pending.steps], pending.place) == (["produced", "bronze"], "pending")
    lake.refine()
    (merged,) = of(lake, "id=a")
    assert [(step.stage, step.at is None) for step in merged.steps][-2:] == [("silver", False), ("gold", True)]
    lake.compute()
    (done,) = of(lake, "id=a")
    times = [step.at for step in done.steps[1:]]
    assert all(isinstance(at, dt.datetime) for at in times)
