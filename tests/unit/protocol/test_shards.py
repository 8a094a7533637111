"""The same machine with a topic that several runs read at once, by plans that change at any moment."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from dagster_project.ingest import bronze as ingesting
from dagster_project.ingest.lateness import newest_events
from dagster_project.ingest.shards import WHOLE, Shard, shards
from dagster_project.ingest.unread import unread
from dagster_project.lake import table as tables
from dagster_project.lake.table import Table
from tests.unit import lateness
from tests.unit.protocol.test_cursors import _MORE, _PLACES, STEPS, More, Protocol

_SHARD = st.integers(1, 3).flatmap(lambda of: st.sampled_from(shards(of)))
# Has no Kafka partition here; its runs only write down where the others' begin.
_NOBODYS = Shard(number=99, of=100)


class Sharded(Protocol):
    """Whoever reads all of the topic does it by the plan of the moment, shard after shard."""

    def __init__(self) -> None:
        super().__init__()
        self.plan = shards(2)

    @rule(of=st.integers(1, 3))
    def make_another_plan(self, of: int) -> None:
        self.plan = shards(of)

    def ingest(self, *, rows: int = 4, batches: int | None = None, shard: Shard = WHOLE) -> None:
        for each in self.plan if shard.whole else [shard]:
            super().ingest(rows=rows, batches=batches, shard=each)

    def overtaken(self, layer: str, run: Callable[[], None], other: Callable[[], None], step: str) -> None:
        """Of two that read the topic both may write; who may not, is looked at below."""
        if layer != "bronze":
            super().overtaken(layer, run, other, step)

    @rule(shard=_SHARD, rows=st.integers(1, 5), batches=st.none() | st.integers(1, 3))
    def read_on_in_one_shard(self, shard: Shard, rows: int, batches: int | None) -> None:
        super().ingest(rows=rows, batches=batches, shard=shard)

    @rule(
        shard=_SHARD,
        other=_SHARD,
        rows=st.integers(1, 5),
        step=st.sampled_from(["fetch", "write_files", "refresh"]),
        more=_MORE,
        another=_MORE,
    )
    def read_in_two_shards_at_once(
        self, shard: Shard, other: Shard, rows: int, step: str, more: More, another: More
    ) -> None:
        """Another run reads and commits, and Silver is refined, while this one holds messages, or is about to commit them."""
        super().ingest(shard=_NOBODYS)
        self.produce(*more)
        self.produce(*another)
        waiting = {p for p, end in self.topic.end().items() if end > self.cursor().get(p, 0)}
        moved: set[int] = set()
        left: list[int] = []

        def go_by() -> None:
            before = self.cursor()
            super(Sharded, self).ingest(rows=3, batches=1, shard=other)
            moved.update(p for p, offset in self.cursor().items() if before.get(p) != offset)
            left.append(self.lake.bronze.version)
            self.refine()

        with pytest.MonkeyPatch.context() as patch:
            self.once(patch, _PLACES.get(step, tables), step, go_by)
            refused = self.is_refused(lambda: super(Sharded, self).ingest(rows=rows, shard=shard))
        own, others = (set(each.own(self.topic.end())) for each in (shard, other))
        self.must_exclude(refused, common=own & others, idle=own.isdisjoint(waiting), taken=own & moved, left=left)
        assert refused or {p: self.cursor().get(p, 0) for p in own} == shard.own(self.topic.end())

    def watermarks_are_of_what_was_read(self, bronze: Table, silver: Table) -> None:
        """Silver may be behind, as it waits for Kafka partitions that hold more than was read of them."""
        cursor = self.cursor(bronze)
        expected = lateness.newest_us(m for m in self.topic.messages() if m.offset < cursor.get(m.partition, 0))
        newest, taken = newest_events(bronze.cursors()), newest_events(silver.cursors())
        assert newest == expected, "the newest events of Bronze are not those that it has read"
        assert all(time <= newest[place] for place, time in taken.items())
        behind = {partition for partition, end in self.topic.end().items() if cursor.get(partition, 0) < end}
        assert unread(bronze.cursors()) <= behind, "what was read to its end is said to hold more"

    def must_exclude(self, refused: bool, *, common: set[int], idle: bool, taken: set[int], left: list[int]) -> None:
        """Of runs with Kafka partitions in common one writes; others do not get into each other's way.

        Args:
            idle: the run had nothing to read.
            taken: of its Kafka partitions, those of which the other one has read something.
        """
        if refused:
            assert common, "a run of other Kafka partitions was refused"
            assert self.lake.bronze.version == left[0], "a refused run has written"
        else:
            assert idle or not taken, "two runs have read the same Kafka partition, and both have written"


class Unordered(Sharded):
    """Shards that write under the first number they thought of."""

    def let_go(self) -> None:
        real = Table._publish

        def unordered(table: Table, content: Any, commit_id: str, cursors: set[str], _rising: Any) -> int:
            return real(table, content, commit_id, cursors, {})

        self.patch.setattr(Table, "_publish", unordered)


class Careless(Sharded):
    """Shards that do not look whether somebody else has read what they have read."""

    def let_go(self) -> None:
        real = Table._publish

        def unchecked(table: Table, content: Any, commit_id: str, _cursors: set[str], rising: Any) -> int:
            return real(table, content, commit_id, set(), rising)

        self.patch.setattr(ingesting, "_still_ours", lambda *_: None)
        self.patch.setattr(Table, "_publish", unchecked)

    def must_exclude(self, *_: object, **__: object) -> None:
        """Only what they have done to the tables may give them away."""


def test_shards_write_side_by_side_and_exclude_each_other_where_plans_meet() -> None:
    run_state_machine_as_test(Sharded, settings=STEPS)


@pytest.mark.parametrize(
    ("machine", "other", "damage"),
    [
        (None, "1/2", None),
        (Unordered, "1/2", "assert {"),
        (None, "0/2", None),
        (Careless, "0/2", "Bronze is not the topic"),
    ],
)
def test_the_machine_notices_shards_that_do_not_look(
    machine: type[Unordered | Careless] | None, other: str, damage: str | None
) -> None:
    """Two runs with a batch each, of which the one that has begun later is the first to commit."""
    found = Sharded() if machine is None else machine()
    found.begin(stable=False)
    try:
        found.ingest()  # where the topic begins
        if isinstance(found, Unordered | Careless):
            found.let_go()
        with nullcontext() if damage is None else pytest.raises(AssertionError, match=damage):
            found.read_in_two_shards_at_once(
                shard=Shard.parse("0/2"),
                other=Shard.parse(other),
                rows=5,
                step="write_files",
                more=(0, ["event"] * 3, "a", 0, 1),
                another=(1, ["event"] * 3, "b", 0, 1),
            )
            found.all_is_consistent()
    finally:
        found.teardown()
