"""What is computed again is what a change can reach, and no more; and the result is that of computing everything."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog
from tests.unit.lakes import Message, reading, tombstone
from tests.unit.marts.world import FILES, World, world_catalog

DAY_MINUTES = 24 * 60
# A key stays where it is, as its contract says.
PLACES = {"a": (1, "eu"), "b": (2, "us"), "c": (2, "eu"), "d": (6, "us")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return world_catalog(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(tmp_path: Path, project: Catalog) -> World:
    return World.at(tmp_path / "lake", catalog=project)


@st.composite
def batches(draw: st.DrawFn) -> list[tuple[list[Message], list[Message]]]:
    """Readings with their deletes, and versions of what they are looked up in, in any order and any batches.

    A reading's own time may be days after the day that it is placed on.
    """
    found: list[tuple[list[Message], list[Message]]] = []
    offset = 0
    for _ in range(draw(st.integers(1, 3))):
        readings: list[Message] = []
        for identity, at, deleted in draw(
            st.lists(
                st.tuples(st.sampled_from("abcd"), st.integers(0, 4), st.sampled_from([False, False, True])), max_size=3
            )
        ):
            offset += 1
            minute = at * DAY_MINUTES + offset
            day, region = PLACES[identity]
            readings.append(
                tombstone(offset, identity, at=minute)
                if deleted
                else reading(offset, identity, at=minute, day=day, region=region, level=offset)
            )
        others: list[Message] = []
        for identity, at in draw(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=2)):
            offset += 1
            others.append(
                reading(offset, f"{identity}@{offset}", at=at * DAY_MINUTES + offset, day=at + 1, level=offset)
            )
        found.append((readings, others))
    return found


def test_any_changes_lead_to_what_computing_everything_leads_to(project: Catalog) -> None:
    @settings(max_examples=4, phases=[Phase.generate])  # an example takes a second: too long to look for a shorter one
    @given(batches())
    def check(changes: list[tuple[list[Message], list[Message]]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            step, whole = (World.at(Path(folder) / name, catalog=project) for name in ("step", "whole"))
            for readings, others in changes:
                for world in (step, whole):
                    if readings:
                        world.readings.arrive(*readings)
                    if others:
                        world.others.arrive(*others)
                step.refine()
                step.compute()
            whole.refine()
            whole.compute()
            for item in project.marts:
                assert step.stale(item.name) == []
                assert step.rows(item.name).equals(whole.rows(item.name)), item.name
            # Nothing was missed, and to compute everything again makes nobody's input newer.
            versions = {item.name: step.gold(item.name).cursors() for item in project.marts}
            again = step.compute(afresh=True)
            assert [commit.changed for commits in again.values() for commit in commits if commit.changed] == []
            for name, before in versions.items():
                after = step.gold(name).cursors()
                assert {cursor: after[cursor] for cursor in after if cursor.startswith("changed/")} == {
                    cursor: before[cursor] for cursor in before if cursor.startswith("changed/")
                }

    check()


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, project: Catalog) -> World:
    """Readings on the first eight days in both regions, each of noon; and two things that they are looked up in."""
    world = World.at(tmp_path_factory.mktemp("lake"), catalog=project)
    messages = [
        reading(
            10 * day + number, f"{region}{day}", at=(day - 1) * DAY_MINUTES + 720, day=day, region=region, level=day
        )
        for day in range(1, 9)
        for number, region in enumerate(["eu", "us"])
    ]
    world.readings.arrive(*messages)
    world.others.arrive(reading(0, "eu3@0", at=0, level=7), reading(1, "us5@0", at=0, level=8))
    world.refine()
    world.compute()
    return world


@pytest.fixture
def filled(first: World, tmp_path: Path) -> World:
    return first.copied(tmp_path / "lake")


def test_one_late_row_is_computed_where_it_can_be_read(filled: World) -> None:
    filled.readings.arrive(reading(200, "late", at=2 * DAY_MINUTES, day=3, level=100))
    filled.refine()
    assert filled.computed() == {
        "same": {"2026-01-03/eu"},
        "dates": {"2026-01-03"},
        "trailing": {"2026-01-03/eu", "2026-01-04/eu", "2026-01-05/eu"},
        "leading": {"2026-01-02", "2026-01-03", "2026-01-04"},
        "people": {"none"},
        "facts": {"2026-01-03/eu"},
        "report": {"2026-01-03/eu", "2026-01-03/us"},
        "both": {"2026-01-03"},
    }
    assert filled.computed() == {}


def test_a_delete_reaches_what_is_not_partitioned(filled: World) -> None:
    filled.readings.arrive(tombstone(200, "us8", at=9 * DAY_MINUTES))
    filled.refine()
    assert filled.computed()["people"] == {"none"}
    assert "us8" not in set(filled.rows("people")["id"])
    assert filled.rows("same").filter(event_date=dt.date(2026, 1, 8))["region"].to_list() == ["eu"]


def test_a_new_version_is_looked_up_from_its_first_day_on(filled: World) -> None:
    filled.others.arrive(reading(2, "eu3@2", at=4 * DAY_MINUTES + 5, level=9))
    filled.refine()
    done = filled.computed()
    days = {f"2026-01-0{day}/{region}" for day in (5, 6, 7, 8) for region in ("eu", "us")}
    assert done["versions"] == {"none"}
    assert done["facts"] == days
    assert "report" not in done  # no reading of these days is of what has changed


def test_a_version_in_between_is_looked_up_until_the_next_one_too(filled: World) -> None:
    filled.others.arrive(reading(2, "eu3@2", at=1 * DAY_MINUTES, level=9))
    filled.refine()
    done = filled.computed()
    assert min(done["facts"]) == "2026-01-02/eu"
    assert done["report"] == {"2026-01-03/eu"}
    assert filled.rows("facts").filter(id="eu3")["total"].to_list() == [9]


def test_an_event_later_than_its_table_partition_is_looked_up_as_of_its_own_day(filled: World) -> None:
    # Placed on the first day, and of the seventh: a version from the sixth on is its.
    filled.readings.arrive(reading(200, "us5", at=6 * DAY_MINUTES + 700, day=5, region="us", level=5))
    filled.refine()
    filled.compute()
    filled.others.arrive(reading(2, "us5@2", at=5 * DAY_MINUTES, level=99))
    filled.refine()
    assert "2026-01-05/us" in filled.computed()["facts"]
    assert filled.rows("facts").filter(id="us5")["total"].to_list() == [99]


def test_what_changes_nothing_makes_nobody_stale(filled: World) -> None:
    before = {name: filled.gold(name).files()["path"].to_list() for name in ("facts", "versions", "report")}
    filled.readings.arrive(
        reading(200, "eu3", at=2 * DAY_MINUTES + 721, day=3, level=3)
    )  # another version, the same values
    filled.refine()
    done = filled.compute()
    assert [commit.changed for commit in done["facts"]] == [()]
    assert (done["report"], filled.stale("report")) == ([], [])
    assert {name: filled.gold(name).files()["path"].to_list() for name in before} == before


def test_a_fixed_dimension_follows_its_sql(filled: World, tmp_path: Path) -> None:
    assert filled.rows("fixed").rows() == [("eu", 1), ("us", 2)]
    files = {**FILES, "fixed.sql": FILES["fixed.sql"].replace("('us', 2)", "('us', 3)")}
    changed = World.at(tmp_path / "lake", catalog=world_catalog(tmp_path / "changed", files))
    assert changed.computed()["fixed"] == {"none"}
    assert changed.rows("fixed").rows() == [("eu", 1), ("us", 3)]
    assert set(changed.rows("facts").filter(region="us")["size"]) == {3}
    assert changed.computed() == {}


def test_marts_wait_for_marts_and_not_for_datasets_without_events(world: World) -> None:
    world.readings.arrive(reading(0, "a"))
    world.refine()
    assert world.compute("facts", "both")["facts"] == []
    assert len(world.stale("facts")) == 1
    assert world.rows("both")["readings"].to_list() == [1]
    world.compute()
    assert world.rows("facts").select("id", "total", "size").rows() == [("a", None, 1)]
    assert world.rows("versions").is_empty()
