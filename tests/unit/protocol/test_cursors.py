"""Rows and cursors move together, whoever writes, crashes, comes late or is not told: a machine that tries it all."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from dagster_project.contract.model import Constraints
from dagster_project.errors import OffsetLossError, StaleCursorError, TopicIdentityError
from dagster_project.ingest import bronze as ingesting
from dagster_project.ingest.cursor import Cursor
from dagster_project.ingest.fetch import Limits
from dagster_project.ingest.lateness import newest_events
from dagster_project.ingest.shards import WHOLE, Shard
from dagster_project.lake import compaction, specs
from dagster_project.lake import table as tables
from dagster_project.lake.keys import Key, keys_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine import gold as computing
from dagster_project.refine import merge as merging
from dagster_project.refine import release as releasing
from dagster_project.refine import silver as refining
from dagster_project.refine.plan import pending_files, progress
from dagster_project.refine.quarantine import released_through
from dagster_project.refine.staleness import pending_gold
from tests.unit import lateness
from tests.unit.lakes import Lake, Message, reading, small_catalog, tombstone
from tests.unit.protocol.topic import AtOnce, ModelTopic, Reader

# The same steps each time; as many as take well under a minute.
STEPS = settings(max_examples=10, stateful_step_count=16, report_multiple_bugs=False)
Winner = tuple[dt.datetime, int, int]
More = tuple[int, list[str], str, int, int]
# The topics of the demo grow to as many Kafka partitions.
_PARTITIONS = 12
_PARTITION, _IDENTITY = st.integers(0, _PARTITIONS - 1), st.sampled_from("abcd")
_AT, _DAY = st.integers(0, 20), st.integers(1, 3)
# What is new where two runs are to meet: of nothing new, nothing could be seen.
_MORE = st.tuples(_PARTITION, st.just(["event"] * 3), _IDENTITY, _AT, _DAY)
# So where rows are to be released.
_BAD = st.tuples(_PARTITION, st.just(["bad"] * 3), _IDENTITY, _AT, _DAY)


# Where a step is looked up that is not in the module of the run itself.
_PLACES: dict[str, Any] = {"spelled": tables, "write_files": tables, "refresh": Table, "fetch": Reader}


class Crash(BaseException):
    """The process is gone; no handler may see it."""


def crash(*_: object, **__: object) -> Any:
    raise Crash


class Protocol(RuleBasedStateMachine):
    """Real tables on disk, fed from a topic in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="protocol-"))
        self.patch = pytest.MonkeyPatch()
        self.seen: dict[str, Mapping[str, int]] = {}

    @initialize(stable=st.booleans())
    def begin(self, stable: bool) -> None:
        """Begin with a contract that says that keys stay in their table partition, as they then do, or one that does not."""
        catalog = small_catalog(self.folder / "contracts")
        self.lake = Lake.at(self.folder / "lake", catalog=catalog, stable_partitions=stable)
        self.topic = ModelTopic(name=self.lake.dataset.topic.name)
        self.patch.setattr(ingesting, "Broker", self.topic.as_broker())
        self.patch.setattr(ingesting, "reading", self.topic.reading)
        self.patch.setattr(ingesting, "ThreadPoolExecutor", AtOnce)
        for name in ("publish_offsets", "record_gaps"):  # about the broker alone
            self.patch.setattr(ingesting, name, lambda *_, **__: None, raising=False)
        # Small bounds, so that a few messages make several commits.
        self.patch.setattr(refining, "_ROWS", 3)
        self.patch.setattr(merging, "_ROWS", 2)
        self.patch.setattr(computing, "_ROWS", 1)
        self.patch.setattr(compaction, "_MANY", 2)
        self.patch.setattr(compaction, "_OPEN_DAYS", 0)

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.folder)

    # What may happen to the topic.

    @rule(
        partition=_PARTITION,
        kinds=st.lists(
            st.sampled_from(["event", "event", "event", "bad", "poison", "delete", "gap"]), min_size=1, max_size=6
        ),
        identity=_IDENTITY,
        at=_AT,
        day=_DAY,
    )
    def produce(self, partition: int, kinds: list[str], identity: str, at: int, day: int) -> None:
        partition %= len(self.topic.logs)
        log = self.topic.logs[partition]
        for number, kind in enumerate(kinds):
            chosen = ("abcd".index(identity) + number) % 4
            name = "abcd"[chosen]
            offset = len(log)
            match kind:
                case "gap":
                    log.append(None)
                case "poison":
                    log.append(Message(offset=offset, payload=b"?", partition=partition))
                case "delete":
                    log.append(tombstone(offset, name, at=at + number, partition=partition))
                case _:
                    level = -1 if kind == "bad" else offset
                    region, placed = "us" if number % 3 == 2 else "eu", day
                    if self.lake.dataset.stable_partitions:
                        region, placed = ("us" if chosen == 0 else "eu"), 1 + chosen % 3
                    log.append(
                        reading(
                            offset, name, at=at + number, day=placed, region=region, level=level, partition=partition
                        )
                    )

    @rule(by=st.integers(1, 4))
    def grow(self, by: int) -> None:
        for _ in range(min(by, _PARTITIONS - len(self.topic.logs))):
            self.topic.grow()

    @rule(share=st.floats(0, 1))
    def forget_what_was_read(self, share: float) -> None:
        for partition, offset in self.cursor().items():
            self.topic.first[partition] = max(self.topic.first[partition], int(offset * share))

    @rule()
    def lose_what_was_not_read(self) -> None:
        behind = [partition for partition, offset in self.cursor().items() if offset < len(self.topic.logs[partition])]
        if behind:
            kept = self.topic.first[behind[0]]
            self.topic.first[behind[0]] = len(self.topic.logs[behind[0]])
            self.refused(OffsetLossError)
            self.topic.first[behind[0]] = kept

    @rule()
    def make_the_topic_anew(self) -> None:
        if self.cursor():
            kept, self.topic.topic_id = self.topic.topic_id, "another"
            self.refused(TopicIdentityError)
            self.topic.topic_id = kept

    def refused(self, error: type[Exception]) -> None:
        before = self.lake.bronze.version
        with pytest.raises(error):
            self.ingest()
        assert self.lake.bronze.version == before

    # Ingest.

    def ingest(self, *, rows: int = 4, batches: int | None = None, shard: Shard = WHOLE) -> None:
        """Read some batches, or all."""
        run = ingesting.ingest(
            self.lake.dataset,
            bootstrap_servers="",
            storage=self.lake.storage,
            limits=Limits(rows=rows),
            seconds=3600,
            shard=shard,
            warn=lambda _: None,
        )
        for number, _ in enumerate(run, 1):
            if number == batches:
                run.close()  # pyright: ignore[reportAttributeAccessIssue] a generator

    @rule(rows=st.integers(1, 5), batches=st.none() | st.integers(1, 3))
    def read_on(self, rows: int, batches: int | None) -> None:
        self.ingest(rows=rows, batches=batches)

    @rule(step=st.sampled_from(["place", "spelled", "refresh"]), rows=st.integers(1, 5))
    def crash_while_reading_on(self, step: str, rows: int) -> None:
        self.crashing(step, lambda: self.ingest(rows=rows), of=ingesting)

    @rule(error=st.sampled_from([OSError, FileExistsError]), rows=st.integers(1, 5))
    def commit_without_an_answer(self, error: type[OSError], rows: int) -> None:
        create = Storage.create

        def ambiguous(storage: Storage, path: str, content: bytes) -> None:
            create(storage, path, content)
            raise error("the answer was lost")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Storage, "create", ambiguous)
            self.ingest(rows=rows)
            self.refine()
        assert self.caught_up()

    @rule(rows=st.integers(1, 5), step=st.sampled_from(["fetch", "write_files", "refresh"]), more=_MORE)
    def be_overtaken(self, rows: int, step: str, more: More) -> None:
        """Another run reads and commits while this one holds messages; there always are some for it to hold."""
        self.produce(*more)
        self.overtaken("bronze", lambda: self.ingest(rows=rows), lambda: self.ingest(rows=3, batches=1), step)

    # Silver and Gold.

    def refine(self) -> None:
        self.lake.refine()

    @rule()
    def refine_all(self) -> None:
        self.refine()

    @rule(step=st.sampled_from(["quarantine", "audited", "publish", "spelled", "refresh"]))
    def crash_while_refining(self, step: str) -> None:
        self.crashing(step, self.refine, of=refining)

    @rule(step=st.sampled_from(["judge", "audited", "refresh"]), more=_MORE)
    def refine_twice_at_once(self, step: str, more: More) -> None:
        self.produce(*more)
        self.ingest()
        self.overtaken("silver", self.refine, self.refine, step)

    # Releases of quarantine, by a contract that lets all pass.

    def quarantine_some(self, more: More) -> None:
        self.produce(*more)
        self.ingest()
        self.refine()

    def release(self) -> None:
        free = [replace(column, constraints=Constraints()) for column in self.lake.dataset.columns]
        releasing.release(replace(self.lake.dataset, columns=tuple(free)), storage=self.lake.storage)

    @rule(more=_BAD)
    def release_all(self, more: More) -> None:
        self.quarantine_some(more)
        self.release()

    @rule(more=_BAD, step=st.sampled_from(["_mark", "merge", "publish", "spelled", "refresh"]))
    def crash_while_releasing(self, more: More, step: str) -> None:
        self.quarantine_some(more)
        self.crashing(step, self.release, of=releasing)

    @rule()
    def compute_all(self) -> None:
        self.lake.compute()

    @rule(step=st.sampled_from(["run_sql", "spelled", "refresh"]))
    def crash_while_computing(self, step: str) -> None:
        self.crashing(step, self.lake.compute, of=computing)

    @rule(step=st.sampled_from(["run_sql", "refresh"]), more=_MORE)
    def compute_twice_at_once(self, step: str, more: More) -> None:
        self.produce(*more)
        self.ingest()
        self.refine()
        self.overtaken("gold", self.lake.compute, self.lake.compute, step)

    # Compaction.

    def compact(self) -> None:
        of = self.lake.dataset
        for spec in (specs.bronze(of), specs.silver(of), specs.quarantine(of), specs.gold(self.lake.mart)):
            list(compaction.compact(spec, storage=self.lake.storage))

    @rule()
    def compact_all(self) -> None:
        self.compact()

    @rule(step=st.sampled_from(["publish_portion", "spelled", "refresh"]))
    def crash_while_compacting(self, step: str) -> None:
        self.crashing(step, self.compact, of=compaction)

    @rule()
    def write_while_compacting(self) -> None:
        def others() -> None:
            self.ingest()
            self.refine()
            self.compact()

        with pytest.MonkeyPatch.context() as patch:
            self.once(patch, compaction, "read_portion", others)
            self.compact()

    @rule()
    def compact_while_reading_on(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            self.once(patch, tables, "write_files", self.compact)
            self.ingest()
        assert self.caught_up()

    # How it is done.

    def crashing(self, step: str, run: Callable[[], None], *, of: Any) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_PLACES.get(step, of), step, crash)
            with suppress(Crash):
                run()

    def once(self, patch: pytest.MonkeyPatch, place: Any, name: str, other: Callable[[], None]) -> None:
        """Have another run go by at the first call of a function: after it, if it reads, else before it."""
        real = getattr(place, name)

        def first(*arguments: Any, **options: Any) -> Any:
            patch.setattr(place, name, real)
            if name in {"fetch", "read_portion"}:
                found = real(*arguments, **options)
                other()
                return found
            other()
            return real(*arguments, **options)

        patch.setattr(place, name, first)

    def overtaken(self, layer: str, run: Callable[[], None], other: Callable[[], None], step: str) -> None:
        """Have another run do what this one is about to; if it does, this one must be refused and write no more."""
        left: list[int] = []

        def go_by() -> None:
            before = self.table(layer).version
            other()
            if self.table(layer).version > before:
                left.append(self.table(layer).version)

        of = {"bronze": tables, "silver": refining, "gold": computing}[layer]
        with pytest.MonkeyPatch.context() as patch:
            self.once(patch, _PLACES.get(step, of), step, go_by)
            refused = self.is_refused(run)
        # The other one commits only what this one has yet to write.
        self.must_be_refused(refused, layer, left)

    def is_refused(self, run: Callable[[], None]) -> bool:
        try:
            run()
        except StaleCursorError:
            return True
        return False

    def must_be_refused(self, refused: bool, layer: str, left: list[int]) -> None:
        assert refused == bool(left), "an overtaken run was not refused, or another one was"
        assert not left or self.table(layer).version == left[0], "a refused run has written"

    def table(self, layer: str) -> Table:
        return getattr(self.lake, layer)

    def caught_up(self) -> bool:
        """Of a topic that never held a thing there is no cursor."""
        return {**dict.fromkeys(self.topic.end(), 0), **self.cursor()} == self.topic.end()

    def cursor(self, bronze: Table | None = None) -> dict[int, int]:
        found = Cursor.from_table((bronze or self.lake.bronze).cursors())
        return {} if found is None else dict(found.next)

    # What must hold after each step.

    @invariant()
    def all_is_consistent(self) -> None:
        # Opened once for all that is looked at: that is what takes the time.
        bronze, silver, quarantine, gold = (self.look(layer) for layer in ("bronze", "silver", "quarantine", "gold"))
        self.bronze_is_the_topic_below_the_cursor(bronze)
        self.silver_and_quarantine_are_what_was_refined(bronze, silver, quarantine)
        self.gold_is_what_it_says_it_was_computed_from(silver, gold)

    def look(self, layer: str) -> Table:
        """A table as it is now, of which no cursor may have gone back."""
        table = self.table(layer)
        found = table.cursors()
        for name, value in self.seen.get(layer, {}).items():
            assert found.get(name, -1) >= value, f"{layer}: cursor {name} went back"
        self.seen[layer] = found
        return table

    def bronze_is_the_topic_below_the_cursor(self, bronze: Table) -> None:
        rows = bronze.rows().select("_kafka_partition", "_kafka_offset", "_payload", specs.LATE).collect()
        cursor = self.cursor(bronze)
        late = lateness.late(self.topic.messages())
        expected = [
            (message.partition, message.offset, message.payload, late[message.partition, message.offset])
            for message in self.topic.messages()
            if message.offset < cursor.get(message.partition, 0)
        ]
        assert Counter(rows.iter_rows()) == Counter(expected), "Bronze is not the topic below the cursor"

    def silver_and_quarantine_are_what_was_refined(self, bronze: Table, silver: Table, quarantine: Table) -> None:
        batches = {
            (partition, offset): batch
            for partition, offset, batch in bronze.rows()
            .select("_kafka_partition", "_kafka_offset", "_batch_id")
            .collect()
            .iter_rows()
        }
        done = progress(silver)
        columns = ("_kafka_partition", "_kafka_offset")
        marks = quarantine.rows().select(*columns, specs.RELEASE).collect()
        released = set(marks.filter(pl.col(specs.RELEASE) <= released_through(silver)).select(columns).iter_rows())
        winners: dict[str, tuple[Winner, dict[str, Any] | None]] = {}
        bad: set[tuple[int, int]] = set()
        bad_and_done: set[tuple[int, int]] = set()
        for message in self.topic.messages():
            place = (message.partition, message.offset)
            if place not in batches or message.payload == b"?":
                continue
            values = None if message.payload is None else json.loads(message.payload)
            key = Key(None, None) if values is None else Key(_moment(values["placed"]).date(), values["region"])
            refined = batches[place] <= done.get(key, -1)
            is_bad = values is not None and values["level"] < 0
            if is_bad:
                bad.add(place)
                bad_and_done |= {place} if refined else set()
            if place in released if is_bad else refined:
                name = (message.key or b"").decode()
                at = message.sent if values is None else _moment(values["at"])
                version = (at, message.offset, message.partition)
                if name not in winners or version > winners[name][0]:
                    winners[name] = (version, values)
        live = {name: (version[2], version[1]) for name, (version, values) in winners.items() if values is not None}
        rows = silver.rows().collect()
        found = rows.filter(~pl.col("_deleted"))
        assert len(rows) == rows["id"].n_unique(), "Silver has a key twice"
        assert {row["id"]: tuple(row[name] for name in columns) for row in found.to_dicts()} == live
        held = list(marks.select(columns).iter_rows())
        assert len(held) == len(set(held)), "a row is quarantined twice"
        assert bad_and_done <= set(held) <= bad
        self.watermarks_are_of_what_was_read(bronze, silver)

    def watermarks_are_of_what_was_read(self, bronze: Table, silver: Table) -> None:
        cursor = self.cursor(bronze)
        expected = lateness.newest_us(m for m in self.topic.messages() if m.offset < cursor.get(m.partition, 0))
        newest, taken = newest_events(bronze.cursors()), newest_events(silver.cursors())
        assert newest == expected, "the newest events of Bronze are not those that it has read"
        left = keys_of(pending_files(self.lake.dataset, bronze, progress(silver)))
        if Key(None, None) in left:
            return
        whole = {group: time for group, time in newest.items() if all(key.region != group[1] for key in left)}
        assert {group: taken.get(group) for group in whole} == whole, (
            "Silver has read regions, and has older watermarks"
        )

    def gold_is_what_it_says_it_was_computed_from(self, silver: Table, gold: Table) -> None:
        of: dict[str, Table | None] = {f"silver/{silver.spec.name}": silver, f"gold/{gold.spec.name}": gold}
        waiting = set(pending_gold(self.lake.mart, of, catalog=self.lake.catalog))
        rows = silver.rows().filter(~pl.col("_deleted")).collect()
        expected = {
            Key(*key): (len(part), int(part["level"].sum()))
            for key, part in rows.partition_by("event_date", "region", as_dict=True).items()
        }
        published = gold.rows().collect()
        found = {Key(row["event_date"], row["region"]): row for row in published.to_dicts()}
        assert len(found) == len(published), "Gold has a key twice"
        current = {key: (row["readings"], row["total"]) for key, row in found.items() if key not in waiting}
        assert current == {key: value for key, value in expected.items() if key not in waiting}


def _moment(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


class Careless(Protocol):
    """Writers of one layer that neither look nor are refused."""

    layer: str

    @initialize()
    def let_go(self) -> None:
        self.patch.setattr(ingesting, "_still_ours", self.unless_careless("bronze", ingesting._still_ours))
        self.patch.setattr(refining, "still_planned", self.unless_careless("silver", refining.still_planned))
        self.patch.setattr(computing, "still_planned", self.unless_careless("gold", computing.still_planned))
        real = Table._publish

        def unchecked(table: Table, *arguments: Any) -> int:
            if table.spec.layer == self.layer:
                table.refresh()  # so that it sees no commit as coming in between
            return real(table, *arguments)

        self.patch.setattr(Table, "_publish", unchecked)

    def unless_careless(self, layer: str, look: Callable[..., None]) -> Callable[..., None]:
        return (lambda *_: None) if layer == self.layer else look

    def must_be_refused(self, refused: bool, layer: str, left: list[int]) -> None:
        """Only what they have done to the tables may give them away."""


def test_rows_and_cursors_move_together() -> None:
    run_state_machine_as_test(Protocol, settings=STEPS)


@pytest.mark.parametrize(
    ("layer", "damage"),
    [("bronze", "Bronze is not the topic"), ("silver", "Silver has a key twice"), ("gold", "Gold has a key twice")],
)
def test_the_machine_notices_writers_that_do_not_look(layer: str, damage: str) -> None:
    machine = type("Careless", (Careless,), {"layer": layer})
    # The first one will do: it need not be the smallest.
    careless = settings(STEPS, max_examples=40, phases=[Phase.generate])
    with pytest.raises(AssertionError, match=damage):
        run_state_machine_as_test(machine, settings=careless)
