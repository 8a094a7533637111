"""Where an event is said to be is where the account has it, and each question finds the same events."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.accounting.account import account
from dagster_project.contract.model import Catalog
from dagster_project.errors import LakeError
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Entry, write
from dagster_project.lifecycle.expiry import expire
from dagster_project.refine.release import release
from dagster_project.topics.offsets import Offsets
from dagster_project.tracing.journey import trace
from dagster_project.tracing.story import Event
from tests.unit.lakes import Lake, Message, reading, tombstone


def of(lake: Lake, what: str) -> list[Event]:
    return list(trace(what, catalog=lake.catalog, storage=lake.storage).events)


def at(lake: Lake, offset: int, partition: int = 0) -> Event:
    found = of(lake, f"{lake.dataset.topic.name}/{partition}/{offset}")
    (own,) = (event for event in found if (event.partition, event.offset) == (partition, offset))
    return own


def compare(lake: Lake) -> None:
    """Each offset's place, counted, is the account's."""
    found = account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")
    for tiling in found.partitions:
        counted = Counter(at(lake, offset, tiling.partition).place for offset in range(tiling.start, tiling.next))
        assert counted == {name: count for name in counted if (count := getattr(tiling, name))}
        assert counted.total() == tiling.next - tiling.start


@pytest.fixture
def full(lake: Lake) -> Lake:
    """Rows, superseded ones, quarantine, deletes, poison, gaps, and a batch that Silver has not read."""
    lake.arrive(reading(0, "a", at=1), reading(1, "a", at=3), reading(2, "b"), Message(offset=3, payload=b"{"))
    lake.arrive(reading(4, "c", level=-1), reading(5, "a", at=2), tombstone(6, "d", at=1), tombstone(7, "d", at=2))
    lake.arrive(reading(1, "z", region="us", partition=1), tombstone(9, "z", at=5), following={0: 12})
    lake.refine()
    lake.compute()
    lake.arrive(reading(12, "a", at=9), reading(13, "e", day=2))
    return lake


def test_every_offset_is_where_the_account_has_it(full: Lake) -> None:
    compare(full)
    # Said by hand, too.
    places = {0: "superseded", 1: "silver_rows", 3: "quarantined", 4: "quarantined", 6: "tombstones", 12: "pending"}
    assert {offset: at(full, offset).place for offset in places} == places
    assert at(full, 8).place == "unproven_gaps"
    assert at(full, 14).place == "unread"
    assert at(full, 0, partition=5).place == "unread"


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["event", "event", "event", "bad", "poison", "delete", "gap", "refine"]),
            st.sampled_from("ab"),
            st.integers(0, 5),
            st.integers(0, 1),
        ),
        min_size=1,
        max_size=14,
    )
)
def test_of_any_topic_every_offset_is_where_the_account_has_it(
    tmp_path_factory: pytest.TempPathFactory, catalog: Catalog, steps: list[tuple[str, str, int, int]]
) -> None:
    lake = Lake.at(tmp_path_factory.mktemp("lake"), catalog=catalog)
    offsets = Counter[int]()
    for kind, identity, minute, partition in steps:
        offset = offsets[partition]
        match kind:
            case "refine":
                lake.refine()
                continue
            case "gap":
                offsets[partition] += 1
                continue
            case "poison":
                message = Message(offset=offset, payload=b"{", key=identity.encode(), partition=partition)
            case "delete":
                message = tombstone(offset, identity, at=minute, partition=partition)
            case _:
                level = -1 if kind == "bad" else 1
                message = reading(offset, identity, at=minute, partition=partition, level=level)
        lake.arrive(message)
        offsets[partition] += 1
    compare(lake)


def test_what_has_expired_and_what_was_lost_is_told_from_the_ledger(full: Lake) -> None:
    full.refine()
    list(expire(full.dataset, storage=full.storage, now=dt.datetime(2026, 2, 1, 0, 0, 1, tzinfo=dt.UTC)))
    compare(full)
    superseded = at(full, 0)
    assert (superseded.place, superseded.kind) == ("superseded", None)
    assert [(step.stage, step.facts["place"]) for step in superseded.steps] == [("expired", "superseded")]
    (winner,) = (event for event in of(full, "id=b") if event.offset == 2)
    assert (winner.place, winner.key) == ("silver_rows", {"id": "b"})
    assert "expired" in [step.stage for step in winner.steps]

    table = Table.open(specs.ledger(full.dataset), storage=full.storage)
    lost = Entry(offsets=Offsets.of_bounds({0: 10}, {0: 11}), kind="lost", note="disk", declared_by="ann")
    topic = full.cursor.topic(full.dataset.topic.name)
    write(table, topic, [lost], batch_id=3, covered={})
    gone = at(full, 10)
    assert gone.place == "lost"
    assert [step.text for step in gone.steps] == ["declared lost by ann: disk"]


def test_a_key_finds_all_its_messages_and_poison_with_the_same_key(full: Lake) -> None:
    full.arrive(Message(offset=14, payload=b"{", key=b"a"), tombstone(15, "a", at=7))
    found = of(full, "id=a")
    assert [(event.offset, event.kind) for event in sorted(found, key=lambda event: event.offset)] == [
        (0, "event"),
        (1, "event"),
        (5, "event"),
        (12, "event"),
        (14, "poison"),
        (15, "tombstone"),
    ]
    # Before Silver has anything of a key, too, and after all of it was deleted.
    assert [event.offset for event in of(full, "id=e")] == [13]
    assert [event.offset for event in of(full, "id=d")] == [6, 7]
    assert [(event.offset, event.place) for event in of(full, "id=c")] == [(4, "quarantined")]


def test_a_correlation_id_finds_all_its_events_and_says_when_there_are_too_many(lake: Lake) -> None:
    lake.arrive(*(replace(reading(offset, str(offset)), correlation_id="both") for offset in range(3)), reading(3, "x"))
    assert [event.offset for event in of(lake, "both")] == [0, 1, 2]
    assert [event.correlation_id for event in of(lake, "0/3")] == ["0/3"]
    lake.arrive(*(replace(reading(offset, str(offset)), correlation_id="both") for offset in range(4, 30)))
    journey = trace("both", catalog=lake.catalog, storage=lake.storage)
    assert (len(journey.events), journey.more) == (20, 9)


def test_a_dataset_is_called_by_its_topic_or_its_name(full: Lake) -> None:
    assert of(full, "readings/0/2") == of(full, "test.readings/0/2")


@pytest.mark.parametrize(
    ("what", "found"),
    [
        (" ", "nothing to look for"),
        ("level=3", "no merge key has the columns level"),
        ("id=a,level=3", "no merge key has the columns id, level"),
        ("id=nobody", "no event 'id=nobody'"),
        ("11111111-2222", "no event '11111111-2222'"),
        ("other.topic/0/3", "no event 'other.topic/0/3'"),
        ("test.readings/0", "no event 'test.readings/0'"),
    ],
)
def test_what_is_unknown_or_malformed_is_a_clear_error(full: Lake, what: str, found: str) -> None:
    with pytest.raises(LakeError) as error:
        of(full, what)
    assert found in error.value.found
    assert "<topic>/<Kafka partition>/<offset>" in error.value.expected
    assert error.value.remedy


def test_values_of_a_key_are_read_as_the_contract_has_them(tmp_path: Path, catalog: Catalog) -> None:
    dataset = catalog.datasets[0]
    numbered = replace(dataset, merge_key=("level",))
    lake = Lake.at(tmp_path / "lake", catalog=replace(catalog, datasets=(numbered,)))
    lake.arrive(reading(0, "a", level=7), reading(1, "b", level=8))
    assert [event.offset for event in of(lake, "level=7")] == [0]
    with pytest.raises(LakeError, match="readings: key"):
        of(lake, "level=seven")


def let_go(lake: Lake) -> None:
    """Release what quarantine has, by a contract without that rule."""
    columns = tuple(replace(c, constraints=replace(c.constraints, minimum=None)) for c in lake.dataset.columns)
    release(replace(lake.dataset, columns=columns), storage=lake.storage)


def test_what_gave_way_to_a_released_row_did_so_by_the_release(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=5, level=-1), reading(1, "a", at=1))
    lake.refine()
    let_go(lake)
    steps = {step.stage: step.version for step in at(lake, 1).steps}
    assert (steps["silver"], steps["superseded"]) == (1, lake.silver.version)
    assert at(lake, 1).now == "not in silver/readings: superseded by 0/0"


def test_a_released_row_tells_of_quarantine_of_its_release_and_of_silver(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=-1))
    lake.refine()
    let_go(lake)
    found = at(lake, 0)
    assert found.place == "silver_rows"
    assert [step.stage for step in found.steps] == ["produced", "bronze", "quarantine", "released", "silver", "gold"]
    quarantine, released, silver = found.steps[2:5]
    assert quarantine.facts["reasons"] == ["level.minimum"]
    assert (quarantine.version, released.version, silver.version) == (1, lake.quarantine.version, lake.silver.version)
