"""Silver holds the newest version of each key, whatever the order, number and batching of deliveries."""

from __future__ import annotations

import datetime as dt
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog
from dagster_project.errors import StaleCursorError
from dagster_project.lake import table as tables
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine import merge, silver
from dagster_project.refine.cursors import cursor_keys, cursor_name
from dagster_project.refine.plan import pending_silver, progress, within
from tests.unit.lakes import EPOCH, Lake, Message, reading, tombstone

EU, US = Key(dt.date(2026, 1, 1), "eu"), Key(dt.date(2026, 1, 1), "us")


@st.composite
def deliveries(draw: st.DrawFn, *, moving: bool) -> list[list[Message]]:
    """Versions of two keys in any order and in any batches; some delivered twice, some deletes, some at one time.

    Args:
        moving: keys change their table partition.
    """
    kinds = draw(
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.booleans(), st.integers(1, 3)),
            min_size=1,
            max_size=7,
        )
    )
    messages: list[Message] = []
    for offset, (identity, at, deleted, day) in enumerate(kinds):
        if deleted and offset % 2:
            messages.append(tombstone(offset, identity, at=at))
        else:
            messages.append(reading(offset, identity, at=at, day=day if moving else 1, level=offset))
    messages += [
        replace(message, offset=message.offset + 100)
        for message in draw(st.lists(st.sampled_from(messages), max_size=2, unique_by=id))
    ]
    order = draw(st.permutations(messages))
    cuts = sorted(draw(st.sets(st.integers(1, len(order)), max_size=3)) | {0, len(order)})
    return [list(order[start:end]) for start, end in itertools.pairwise(cuts)]


def minute(message: Message) -> int:
    """The time of a version: its event time, or of a delete the time it was sent."""
    if message.payload is None:
        return int((message.sent - EPOCH).total_seconds()) // 60
    marker = b'"at": "2026-01-01T00:0'
    return int(message.payload[message.payload.index(marker) + len(marker) :][:1])


def newest(messages: Sequence[Message]) -> dict[str, int]:
    """What must be live: by key, the offset of the version with the greatest time, then offset, unless it is a delete."""
    best: dict[str, Message] = {}
    for message in sorted(messages, key=lambda message: (minute(message), message.offset)):
        assert message.key is not None
        best[message.key.decode()] = message
    return {key: message.offset for key, message in best.items() if message.payload is not None}


def offsets(lake: Lake) -> dict[str, int]:
    return {key: row["_kafka_offset"] for key, row in lake.live().items()}


@pytest.mark.parametrize("stable", [True, False])
def test_any_order_and_batching_gives_the_same_rows(catalog: Catalog, stable: bool) -> None:
    @settings(max_examples=15)
    @given(deliveries(moving=not stable))
    def check(batches: list[list[Message]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            lake = Lake.at(Path(folder), catalog=catalog, stable_partitions=stable)
            for index, batch in enumerate(batches):
                lake.arrive(*batch)
                if index % 2 == 0:
                    lake.refine()
            lake.refine()
            assert offsets(lake) == newest([message for batch in batches for message in batch])
            assert pending_silver(lake.dataset, lake.tables()) == []

    check()


def test_append_keeps_one_row_of_a_key(catalog: Catalog) -> None:
    @settings(max_examples=10)
    @given(deliveries(moving=False))
    def check(batches: list[list[Message]]) -> None:
        events = [[message for message in batch if message.payload is not None] for batch in batches]
        keys = {message.key.decode() for batch in events for message in batch if message.key is not None}
        with tempfile.TemporaryDirectory() as folder:
            lake = Lake.at(Path(folder), catalog=catalog, write_mode="append", stable_partitions=True)
            first: dict[str, int] = {}
            for batch in filter(None, events):
                lake.arrive(*batch)
                lake.refine()
                found = offsets(lake)
                assert found.items() >= first.items()  # what was written once stays
                first = found
            assert set(first) == keys

    check()


def test_a_second_run_changes_nothing(lake: Lake) -> None:
    lake.arrive(reading(0, "a"), reading(1, "b", level=-1), tombstone(2, "c"))
    lake.refine()
    version, rows, held = lake.silver.version, lake.live(), lake.quarantine.version
    lake.refine()
    assert (lake.silver.version, lake.quarantine.version) == (version, held)
    list(silver.refine(lake.dataset, storage=lake.storage, keys=None, afresh=True))
    assert lake.live() == rows
    assert len(lake.quarantine.rows().collect()) == 1
    assert len(lake.silver.rows().collect()) == 2  # a, and the mark of the deleted c


def paths(lake: Lake, region: str) -> set[str]:
    return {path for path, found in lake.silver.files().select("path", "region").iter_rows() if found == region}


def test_a_late_row_restates_its_partition_and_no_other(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=5), reading(1, "b", region="us"))
    lake.refine()
    lake.compute()
    before = paths(lake, "us")
    lake.arrive(reading(2, "a", at=4), reading(3, "c", at=1))  # an older version, and a late key
    assert pending_silver(lake.dataset, lake.tables()) == [EU]
    (done,) = silver.refine(lake.dataset, storage=lake.storage, keys=None)
    assert (done.read, done.written, done.superseded) == ({EU: 2}, {EU: 1}, 1)
    assert offsets(lake) == {"a": 0, "b": 1, "c": 3}
    assert paths(lake, "us") == before
    assert lake.stale() == [EU]


def test_a_key_that_moves_leaves_its_old_partition(catalog: Catalog, tmp_path: Path) -> None:
    lake = Lake.at(tmp_path, catalog=catalog, stable_partitions=False)
    lake.arrive(reading(0, "a", at=1), reading(1, "b", at=1))
    lake.refine()
    lake.compute()
    lake.arrive(reading(2, "a", at=2, region="us"))
    lake.refine()
    assert {key: row["region"] for key, row in lake.live().items()} == {"a": "us", "b": "eu"}
    assert lake.stale() == [EU, US]


def test_what_waits_is_named_exactly(lake: Lake) -> None:
    tables = lake.tables()
    assert pending_silver(lake.dataset, tables) == []
    lake.arrive(reading(0), reading(1, "b", region="us"), tombstone(2, "z"))
    assert pending_silver(lake.dataset, lake.tables()) == [EU, US, Key(None, None)]
    list(silver.refine(lake.dataset, storage=lake.storage, keys=[EU]))
    # Deletes belong to every choice.
    assert pending_silver(lake.dataset, lake.tables()) == [US]
    assert lake.stale() == [EU]
    lake.refine()
    lake.compute()
    assert pending_silver(lake.dataset, lake.tables()) == []
    assert lake.stale() == []


def test_poison_alone_leaves_nothing_to_do(lake: Lake) -> None:
    lake.arrive(Message(offset=0, payload=b"{"))
    assert pending_silver(lake.dataset, lake.tables()) == []


def test_a_delete_restates_the_partition_of_its_key(lake: Lake) -> None:
    lake.arrive(reading(0, "a", at=1), reading(1, "b", region="us"))
    lake.refine()
    lake.compute()
    lake.arrive(tombstone(2, "a", at=2))
    assert pending_silver(lake.dataset, lake.tables()) == [Key(None, None)]
    (done,) = silver.refine(lake.dataset, storage=lake.storage, keys=None)
    assert done.deleted == 1
    assert set(offsets(lake)) == {"b"}
    assert lake.stale() == [EU]
    lake.arrive(reading(3, "a", at=1))  # older than the delete
    lake.refine()
    assert set(offsets(lake)) == {"b"}
    lake.arrive(reading(4, "a", at=3))
    lake.refine()
    assert offsets(lake) == {"a": 4, "b": 1}


def test_a_crash_between_quarantine_and_silver_doubles_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    lake.arrive(reading(0, "a"), reading(1, "b", level=-1), reading(2, "c", level=-1, region="us"))
    with monkeypatch.context() as patch:
        patch.setattr(silver, "publish", killed)
        with pytest.raises(KeyboardInterrupt):
            lake.refine()
    assert sorted(lake.quarantine.rows().collect()["_kafka_offset"]) == [1, 2]
    assert lake.live() == {}
    lake.arrive(reading(3, "d", level=-1))
    lake.refine()
    held = lake.quarantine.rows().collect().sort("_kafka_offset")
    assert held["_kafka_offset"].to_list() == [1, 2, 3]
    assert held["_reasons"].to_list() == [["level.minimum"]] * 3
    assert set(offsets(lake)) == {"a"}


def test_a_large_backlog_is_done_in_portions(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silver, "_ROWS", 2)
    lake.arrive(*(reading(number, f"k{number}", day=1 + number % 4) for number in range(8)))
    commits = list(silver.refine(lake.dataset, storage=lake.storage, keys=None))
    assert len(commits) > 1
    assert len(lake.live()) == 8
    assert pending_silver(lake.dataset, lake.tables()) == []


def test_a_run_that_was_overtaken_between_portions_ends(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silver, "_ROWS", 1)
    lake.arrive(*(reading(number, f"k{number}", day=1 + number) for number in range(3)))
    real = Table.refresh

    def overtaken(table: Table) -> None:
        monkeypatch.setattr(Table, "refresh", real)
        lake.arrive(reading(3, "k3", day=3))
        lake.refine()
        real(table)

    monkeypatch.setattr(Table, "refresh", overtaken)  # after its first commit, and before it looks at the table again
    with pytest.raises(StaleCursorError, match="another run has worked on 1 table partitions"):
        lake.refine()
    assert progress(lake.silver)[Key(dt.date(2026, 1, 3), "eu")] == 1
    assert pending_silver(lake.dataset, lake.tables()) == []


@pytest.mark.parametrize(
    "key", [EU, Key(None, None), Key(dt.date(2026, 1, 1), None), Key(dt.date(2026, 1, 1), "a-b.c_d")]
)
def test_names_of_cursors_say_their_partition(key: Key) -> None:
    name = cursor_name("silver/readings", key)
    assert cursor_keys({name: 3, "silver/readings2/2026-01-01/eu": 4, "batch": 1}, "silver/readings") == {key: 3}


def test_a_choice_of_keys() -> None:
    none = Key(None, None)
    assert within([EU, US, none], None) == [EU, US, none]
    assert within([EU, US, none], [US]) == [US, none]
    assert within([EU, US], iter([US, EU])) == [EU, US]


@pytest.mark.parametrize(("most", "files"), [(100, 1), (6, 6), (1, 11)])
def test_of_rows_that_are_written_again_a_bounded_number_is_held(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, most: int, files: int
) -> None:
    for batch in range(10):
        lake.arrive(*(reading(3 * batch + place, f"{batch}-{place}", at=place) for place in range(3)))
        monkeypatch.setattr(merge, "_ROWS", 1)  # each batch stays a file of its own
        lake.refine()
    held: list[str] = []
    write = tables.write_files

    def counted(frame: pl.DataFrame, *, uri: str, **options: Any) -> Any:
        held.append(uri)
        return write(frame, uri=uri, **options)

    monkeypatch.setattr(tables, "write_files", counted)
    monkeypatch.setattr(merge, "_ROWS", most)
    # A newer version of one row of each file.
    lake.arrive(*(reading(100 + batch, f"{batch}-0", at=50) for batch in range(10)))
    lake.refine()
    rows = lake.silver.rows().collect()
    assert sorted(rows["id"]) == sorted(f"{batch}-{place}" for batch in range(10) for place in range(3))
    assert sorted(rows.filter(rows["_kafka_offset"] >= 100)["id"]) == [f"{batch}-0" for batch in range(10)]
    assert held.count(lake.silver.uri) == len(lake.silver.files()) == files
