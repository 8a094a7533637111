"""The counts of the flow are those of the account, which looks at each single offset; and they add up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.accounting.account import Account, account
from dagster_project.contract.model import Catalog
from dagster_project.contract.quality import Breaker
from dagster_project.dashboard.facts import FactReader
from dagster_project.dashboard.flow import Flow, flow
from dagster_project.dashboard.probe import Seen
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Entry, write
from dagster_project.refine.release import release
from dagster_project.topics.broker import Topic
from dagster_project.topics.offsets import Offsets
from tests.unit.lakes import CLUSTER, TOPIC_ID, Lake, Message, reading, tombstone

NOW = dt.datetime(2026, 1, 2, tzinfo=dt.UTC)
# What the page calls otherwise than the account, and what both call alike.
NAMES = {"read": "offsets", "bronze": "bronze_rows", "silver": "silver_rows"}
ALIKE = (
    "superseded",
    "quarantined",
    "tombstones",
    "pending",
    "held",
    "control",
    "aborted",
    "compacted",
    "lost",
    "forgotten",
)


def topic(lake: Lake, *, end: Mapping[int, int], topic_id: str = TOPIC_ID) -> Seen[Mapping[str, Topic | str]]:
    name = lake.dataset.topic.name
    found = Topic(name=name, cluster_id=CLUSTER, topic_id=topic_id, first=dict.fromkeys(end, 0), end=end)
    return Seen(value={name: found}, at=NOW)


def of(lake: Lake, topics: Seen[Mapping[str, Topic | str]] | None = None) -> Flow:
    facts = FactReader(lake.dataset, storage=lake.storage).read()
    return flow(facts, topics or topic(lake, end=lake.cursor.next), marts=1, gold=())


def proven(lake: Lake) -> Account:
    return account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")


def same(lake: Lake) -> Flow:
    """The flow, once it was compared with the account."""
    found, wanted = of(lake), proven(lake)
    counts = {name: getattr(found, name) for name in (*NAMES, *ALIKE)}
    assert counts == {name: getattr(wanted, NAMES.get(name, name)) for name in counts}
    # What no ledger has is not recorded yet to the one; to the other, which asks no broker here, it is without a proof.
    assert wanted.unaccounted == 0
    assert found.unrecorded + found.unproven_gaps == wanted.unproven_gaps
    assert found.adds_up
    assert found.read == found.bronze + found.expired + found.unrecorded + sum(
        getattr(found, name) for name in ("control", "aborted", "compacted", "unproven_gaps", "lost", "forgotten")
    )
    assert found.bronze + found.expired == sum(
        getattr(found, name) for name in ("silver", "superseded", "quarantined", "tombstones", "pending", "held")
    )
    return found


def test_every_place_at_once(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=1), reading(1, "a", at=3), reading(2, "b"), Message(offset=3, payload=b"{"))
    lake.arrive(reading(4, "c", level=-1), reading(5, "a", at=2), tombstone(6, "d", at=1), tombstone(7, "b", at=2))
    lake.arrive(reading(1, "z", region="us", partition=1), following={0: 12, 1: 2})
    waiting = same(lake)
    assert (waiting.silver, waiting.pending, waiting.poison, waiting.quarantined) == (0, 8, 1, 1)
    lake.refine()
    found = same(lake)
    assert (found.silver, found.superseded, found.quarantined, found.poison, found.tombstones) == (2, 3, 2, 1, 2)
    assert (found.read, found.bronze, found.pending, found.unrecorded) == (14, 9, 0, 5)


def test_an_empty_lake(lake: Lake) -> None:
    assert (same(lake).read, of(lake).lag) == (0, 0)


def test_gaps_by_their_kind_and_only_below_the_cursor(lake: Lake) -> None:
    lake.arrive(reading(0), following={0: 8})
    read_from = Topic(name="", cluster_id=CLUSTER, topic_id=TOPIC_ID, first={}, end={})
    kinds = {"control": (1, 1), "aborted": (2, 3), "compacted": (4, 4), "unseen": (5, 5), "lost": (6, 9)}
    entries = [
        Entry(offsets=Offsets.of_bounds({0: first}, {0: last + 1}), kind=kind)  # pyright: ignore[reportArgumentType]
        for kind, (first, last) in kinds.items()
    ]
    write(Table.open(specs.ledger(lake.dataset), storage=lake.storage), read_from, entries, batch_id=0, covered={0: 8})
    found = of(lake)
    assert (found.control, found.aborted, found.compacted, found.unproven_gaps, found.lost) == (1, 2, 1, 1, 2)
    assert (found.unrecorded, found.adds_up) == (0, True)


def test_a_held_region_waits_and_the_rest_goes_on(catalog: Catalog, tmp_path: Path) -> None:
    lake = Lake.at(tmp_path, catalog=catalog, breaker=Breaker(bad_rate=0.1, min_rows=2, probe=dt.timedelta(hours=1)))
    lake.arrive(reading(0, "a", level=-1), reading(1, "b"), reading(2, "c", region="us"))
    lake.refine()
    lake.arrive(reading(3, "d"), reading(4, "e", region="us"))
    found = same(lake)
    assert (found.held, found.pending, found.silver) == (3, 1, 1)


def test_rows_that_are_released_leave_quarantine(lake: Lake, catalog: Catalog) -> None:
    lake.arrive(reading(0, "a", level=-1), reading(1, "b", level=-2), reading(2, "c"))
    lake.refine()
    assert same(lake).quarantined == 2
    columns = tuple(
        replace(column, constraints=replace(column.constraints, minimum=-1)) if column.name == "level" else column
        for column in lake.dataset.columns
    )
    release(replace(lake.dataset, columns=columns), storage=lake.storage)
    found = same(lake)
    assert (found.quarantined, found.silver) == (1, 2)


def test_compacted_files_that_silver_has_read_in_part(lake: Lake) -> None:
    def arrive(offset: int) -> None:
        lake.arrive(reading(offset, f"k{offset}"), tombstone(offset + 1, "q"), Message(offset=offset + 2, payload=b"{"))

    for offset in (0, 3):
        arrive(offset)
    lake.refine()
    for offset in (6, 9):
        arrive(offset)
    lake.arrive(reading(12, "new", day=9))  # the newest days are not compacted
    before = same(lake)
    assert [done.into for done in compact(lake.bronze.spec, storage=lake.storage)] == [2]
    assert same(lake) == before
    assert (before.pending, before.poison, before.tombstones) == (5, 4, 2)


def test_a_mutated_count_does_not_add_up(lake: Lake) -> None:
    lake.arrive(reading(0, "a"), reading(1, "b"))
    lake.refine()
    facts = FactReader(lake.dataset, storage=lake.storage).read()
    broken = [
        replace(facts, live=3),
        replace(facts, rows=3),
        replace(facts, gaps={"control": 1}),
        replace(facts, pending_deletes=1),
    ]
    for wrong in broken:
        assert not flow(wrong, topic(lake, end={0: 2}), marts=0, gold=()).adds_up


def test_what_was_counted_is_kept_and_what_is_new_is_seen(lake: Lake) -> None:
    reader = FactReader(lake.dataset, storage=lake.storage)
    lake.arrive(Message(offset=0, payload=b"{"), reading(1, "a", level=-1))
    lake.refine()
    assert (reader.read().poison, reader.read().rejected) == (1, 1)
    lake.arrive(Message(offset=2, payload=b"{"), reading(3, "b", level=-1))
    lake.refine()
    facts = reader.read()
    assert (facts.poison, facts.rejected) == (2, 2)
    assert [(reason.reason, reason.rows) for reason in facts.rule_reasons] == [("level.minimum", 2)]
    assert [(reason.reason, reason.rows) for reason in facts.poison_reasons] == [("payload.json", 2)]


def test_lag_is_what_the_broker_has_beyond_the_cursor(lake: Lake) -> None:
    lake.arrive(reading(0), reading(0, partition=1))
    found = of(lake, topic(lake, end={0: 5, 1: 3, 2: 7}))  # the third Kafka partition is new
    assert (found.lag, found.read, found.appended) == (4 + 2 + 7, 2, 15)
    behind = of(lake, topic(lake, end={0: 0, 1: 0}))  # asked before the tables were read
    assert (behind.lag, behind.appended) == (0, 2)


def test_without_a_broker_lag_is_unknown_and_the_rest_is_as_it_was(lake: Lake) -> None:
    lake.arrive(reading(0))
    seen = replace(topic(lake, end={0: 5}), failing_since=NOW, error="no broker")
    found = of(lake, seen)
    assert (found.lag, found.appended, found.lag_before, found.lag_at) == (None, None, 4, NOW)
    assert (found.read, found.bronze, found.pending, found.adds_up) == (1, 1, 1, True)
    never = of(lake, Seen(failing_since=NOW, error="no broker"))
    assert (never.lag, never.lag_before) == (None, None)


def test_another_topic_of_the_same_name_says_nothing_of_lag(lake: Lake) -> None:
    lake.arrive(reading(0))
    found = of(lake, topic(lake, end={0: 9}, topic_id="another"))
    assert (found.lag, found.trouble) == (
        None,
        f"{lake.dataset.topic.name} is another topic than the one that was read",
    )


@st.composite
def _batches(draw: st.DrawFn) -> list[list[tuple[str, int, int]]]:
    kinds = st.sampled_from(["good", "good", "good", "bad", "poison", "delete"])
    return draw(st.lists(st.lists(st.tuples(kinds, st.integers(0, 3), st.integers(0, 5)), max_size=6), max_size=4))


@settings(max_examples=20)
@given(batches=_batches(), read=st.lists(st.booleans(), min_size=4, max_size=4))
def test_whatever_comes_in_whatever_batches(
    batches: list[list[tuple[str, int, int]]],
    read: list[bool],
    catalog: Catalog,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lake = Lake.at(tmp_path_factory.mktemp("lake"), catalog=catalog)
    offset = 0
    for batch, refined in zip(batches, read, strict=False):
        messages: list[Message] = []
        for kind, key, at in batch:
            name = f"k{key}"
            messages.append(
                {
                    "good": lambda o=offset, n=name, a=at, k=key: reading(o, n, at=a, region="eu" if k % 2 else "us"),
                    "bad": lambda o=offset, n=name, a=at, k=key: reading(
                        o, n, at=a, level=-1, region="eu" if k % 2 else "us"
                    ),
                    "poison": lambda o=offset: Message(offset=o, payload=b"{"),
                    "delete": lambda o=offset, n=name, a=at: tombstone(o, n, at=a),
                }[kind]()
            )
            offset += 1
        if messages:
            lake.arrive(*messages)
        if refined:
            lake.refine()
    same(lake)
