"""Commits: rows, removals and cursors together, or nothing at all."""

from __future__ import annotations

import datetime as dt
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, TableFeatures

from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.head import HeadReader
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

SPEC = TableSpec(
    layer="silver",
    name="things",
    schema={"n": pl.Int64(), "at": pl.Datetime("us", "UTC"), "event_date": pl.Date(), "region": pl.String()},
    partition_by=("event_date", "region"),
    statistics=("n", "at"),
)
DAY = dt.date(2026, 1, 1)
NOON = dt.datetime(2026, 1, 1, 12, 0, 0, 123_456, tzinfo=dt.UTC)


def rows(*numbers: int, region: str | None = "eu", day: dt.date | None = DAY) -> pl.DataFrame:
    values = [(number, NOON, day, region) for number in numbers]
    return pl.DataFrame(values, schema=dict(SPEC.schema), orient="row")


def numbers(table: Table) -> list[int]:
    return sorted(table.rows().collect()["n"])


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.at(str(tmp_path))


@pytest.fixture
def table(storage: Storage) -> Table:
    return Table.open(SPEC, storage=storage)


def again(storage: Storage, spec: TableSpec = SPEC) -> Table:
    found = Table.find(spec, storage=storage)
    assert found is not None
    return found


def test_rows_and_cursors_arrive_together(storage: Storage, table: Table) -> None:
    assert Table.find(replace(SPEC, name="other"), storage=storage) is None
    reader = again(storage)
    assert table.commit(rows(1, 2), cursors={"a/b": 7}) == 1
    assert table.commit(rows(3), cursors={"a/b": 9, "c": -1}, metadata={"rows": 1}) == 2
    assert (numbers(reader), dict(reader.cursors())) == ([], {})  # a handle stays at the version that it has read
    reader.refresh()
    assert numbers(reader) == [1, 2, 3]
    assert reader.cursors() == {"a/b": 9, "c": -1}
    assert [commit.cursors for commit in reader.commits(1)] == [{"a/b": 7}, {"a/b": 9, "c": -1}]
    assert next(iter(reader.commits(2))).info["rows"] == "1"


def test_removed_files_are_gone_and_the_others_are_not(table: Table) -> None:
    table.commit(rows(1, 2), cursors={})
    table.commit(rows(3, region="us"), cursors={})
    table.commit(rows(1), remove=table.files().filter(pl.col("region") == "eu"), cursors={"x": 1})
    assert numbers(table) == [1, 3]


def test_files_tell_what_is_in_them(table: Table) -> None:
    table.commit(pl.concat([rows(5, 1), rows(9, region=None, day=None)]), cursors={})
    files = table.files().sort("num_records")
    assert files["num_records"].to_list() == [1, 2]
    assert files.select("min.n", "max.n").rows() == [(9, 9), (1, 5)]
    assert files.select("event_date", "region").rows() == [(None, None), (DAY, "eu")]
    assert files["max.at"].to_list() == [NOON, NOON]


@pytest.mark.parametrize("region", ["eu", "a.b", "A-1_x", "0", "null", "true", "2026-01-01", "1e5"])
def test_names_of_regions_come_back_as_they_were(storage: Storage, table: Table, region: str) -> None:
    table.commit(rows(1, region=region), cursors={})
    found = again(storage)
    assert found.rows().collect()["region"].to_list() == [region]
    assert found.files()["region"].to_list() == [region]
    found.commit(rows(), remove=found.files(), cursors={})
    assert numbers(found) == []
    assert DeltaTable(found.uri).file_uris() == []


def test_a_path_names_its_file(table: Table) -> None:
    table.commit(pl.concat([rows(1), rows(2, region="us")]), cursors={})
    found = table.rows(with_path=True).collect()
    assert set(found["_path"]) == set(table.files()["path"])
    one = table.files().filter(pl.col("region") == "us")
    assert table.rows(one).collect()["n"].to_list() == [2]
    assert table.rows(one.clear(), with_path=True).collect().columns == [*SPEC.schema, "_path"]


def test_a_writer_that_did_not_see_the_last_commit_is_refused(storage: Storage, table: Table) -> None:
    other = again(storage)
    other.commit(rows(1), cursors={"other": 1})
    with pytest.raises(StaleCursorError, match="silver/things: another writer committed after version 0"):
        table.commit(rows(2), cursors={"own": 1})
    assert numbers(again(storage)) == [1]
    assert again(storage).cursors() == {"other": 1}
    # It has seen it now, and may try again.
    table.commit(rows(2), cursors={"own": 1})
    assert numbers(again(storage)) == [1, 2]


def test_of_many_writers_only_those_of_one_cursor_exclude_each_other(storage: Storage) -> None:
    spec = replace(SPEC, name="shared", many_writers=True)
    first, second, third = (Table.open(spec, storage=storage) for _ in range(3))
    first.commit(rows(1), cursors={"mine": 1})
    second.commit(rows(2), cursors={"yours": 1})
    with pytest.raises(StaleCursorError):
        third.commit(rows(3), cursors={"mine": 1})
    assert numbers(again(storage, spec)) == [1, 2]
    assert again(storage, spec).cursors() == {"mine": 1, "yours": 1}


@pytest.mark.parametrize("error", [OSError("connection reset"), FileExistsError("sent twice")])
def test_a_commit_whose_answer_was_lost_counts(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    create = Storage.create

    def lossy(storage: Storage, path: str, content: bytes) -> None:
        create(storage, path, content)
        raise error

    monkeypatch.setattr(Storage, "create", lossy)
    table = Table.open(SPEC, storage=storage)
    assert table.commit(rows(1), cursors={"x": 1}) == 1
    assert table.commit(rows(2), cursors={"x": 2}) == 2
    assert numbers(table) == [1, 2]
    assert table.cursors() == {"x": 2}


def test_a_commit_that_failed_says_so(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Storage, "create", broken)
    table = Table.open(SPEC, storage=storage)
    with pytest.raises(LakeError, match="commit after version 0 failed: disk full"):
        table.commit(rows(1), cursors={"x": 1})
    assert (numbers(table), dict(table.cursors())) == ([], {})


def read_anew(table: Table, storage: Storage) -> dict[str, int]:
    """Cursors as a process that knows nothing yet reads them."""
    return cursors_by(HeadReader(storage.filesystem()), table)


def cursors_by(reader: HeadReader, table: Table) -> dict[str, int]:
    head = reader.newest(table.uri)
    assert head is not None
    assert head.version == table.version
    return dict(head.cursors)


def test_cursors_outlive_checkpoints_and_the_cleaning_of_the_log(
    storage: Storage, table: Table, tmp_path: Path
) -> None:
    follower, late = HeadReader(storage.filesystem()), HeadReader(storage.filesystem())
    expected: dict[str, int] = {}
    for number in range(12):
        moved = {f"key/{number % 5}": number, "batch": number}
        expected |= moved
        table.commit(rows(number) if number == 0 else rows(), cursors=moved)
        if number in (4, 9):
            table.delta.create_checkpoint()
        if number == 1:
            assert cursors_by(late, table) == expected
        assert cursors_by(follower, table) == expected == read_anew(table, storage)
    # Commits 0 to 9 are in the checkpoint of version 10 alone.
    log = tmp_path / "silver" / "things" / "_delta_log"
    for version in range(10):
        (log / f"{version:020d}.json").unlink()
    assert read_anew(table, storage) == expected
    assert again(storage).first_commit() == 10
    assert cursors_by(late, table) == expected
    table.commit(rows(), cursors={"batch": 12})
    (log / f"{11:020d}.json").unlink()
    assert cursors_by(follower, table) == {**expected, "batch": 12}


@pytest.mark.parametrize("news", [1, 2, 3, 5, 40])
def test_a_standing_reader_reads_what_is_new(storage: Storage, table: Table, news: int) -> None:
    reader = HeadReader(storage.filesystem())
    for number in range(3):
        table.commit(rows(), cursors={"n": number})
    assert cursors_by(reader, table) == {"n": 2}
    for number in range(news):
        table.commit(rows(), cursors={"n": 3 + number, f"own/{number}": number})
    assert cursors_by(reader, table) == read_anew(table, storage)
    assert len(cursors_by(reader, table)) == news + 1


def test_a_table_made_anew_is_not_taken_for_the_old_one(storage: Storage, table: Table, tmp_path: Path) -> None:
    for number in range(3):
        table.commit(rows(number), cursors={"n": number})
    shutil.rmtree(tmp_path / "silver")
    assert Table.find(SPEC, storage=storage) is None
    with pytest.raises(LakeError, match="silver/things is no more"):
        table.refresh()
    new = Table.open(SPEC, storage=storage)
    for number in range(4):
        new.commit(rows(number + 10), cursors={"n": number + 10})
    assert (again(storage).version, again(storage).cursors()) == (4, {"n": 13})
    assert numbers(again(storage)) == [10, 11, 12, 13]


def test_a_handle_shows_the_version_that_it_has_read(storage: Storage, table: Table) -> None:
    table.commit(rows(1), cursors={"n": 1})
    late, loaded = again(storage), again(storage)
    assert numbers(loaded) == [1]
    table.commit(rows(2), cursors={"n": 2})
    for handle in (late, loaded):
        assert (numbers(handle), handle.cursors()) == ([1], {"n": 1})
        handle.refresh()
        assert (numbers(handle), handle.cursors()) == ([1, 2], {"n": 2})


def test_delta_itself_reads_what_was_committed(table: Table) -> None:
    """With names that the log escapes, empty partitions, removals, and beyond a checkpoint."""
    odd = "a b%é:+&=x,()@!'~?#"
    for number in range(45):
        table.commit(rows(number, region=odd), cursors={"n": number})
    (gone,) = table.rows(table.files()[:1]).collect()["n"]
    table.commit(rows(100, region=None), cursors={"n": 100}, remove=table.files()[:1])
    delta = DeltaTable(table.uri)
    found = pl.DataFrame(delta.to_pyarrow_table())
    assert sorted(found["n"]) == sorted({*range(45), 100} - {gone})
    assert set(found["region"]) == {odd, None}
    assert delta.transaction_version("n") == 100
    assert delta.history(1)[0]["operation"] == "WRITE"


def test_a_table_that_asks_more_of_its_writers_is_refused(storage: Storage, table: Table) -> None:
    table.delta.alter.add_feature(TableFeatures.DeletionVectors, allow_protocol_versions_increase=True)
    with pytest.raises(LakeError, match="asks for a reader of version 3 and a writer of version 7"):
        Table.open(SPEC, storage=storage)
    with pytest.raises(StaleCursorError):  # a writer that has opened it before
        table.commit(rows(1), cursors={})
    with pytest.raises(LakeError, match="asks for"):
        again(storage).files()


def test_a_column_is_gained_and_never_changed(storage: Storage, table: Table) -> None:
    table.commit(rows(1), cursors={"x": 1})
    wider = replace(SPEC, schema={"new": pl.String(), **SPEC.schema, "money": pl.Decimal(18, 2)})
    grown = Table.open(wider, storage=storage)
    assert grown.rows().select("n", "new", "money").collect().rows() == [(1, None, None)]
    grown.commit(rows(2).with_columns(new=pl.lit("b"), money=pl.lit("1.50").cast(pl.Decimal(18, 2))), cursors={})
    assert sorted(grown.rows().select("n", "new").collect().rows()) == [(1, None), (2, "b")]
    assert grown.cursors() == {"x": 1}
    with pytest.raises(LakeError, match="silver/things: column n is ") as refused:
        Table.open(replace(SPEC, schema={**SPEC.schema, "n": pl.String()}), storage=storage)
    assert "as in the contract" in refused.value.expected
    assert numbers(again(storage)) == [1, 2]


def test_a_checkpoint_is_written_every_twenty_commits_and_no_commit_waits_for_it(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_on = threading.Event()
    write = DeltaTable.create_checkpoint

    def slow(delta: DeltaTable) -> None:
        assert may_go_on.wait(60)
        write(delta)

    def checkpoints() -> list[int]:
        return sorted(int(path.name[:20]) for path in Path(table.uri).glob("_delta_log/*.checkpoint.parquet"))

    monkeypatch.setattr(DeltaTable, "create_checkpoint", slow)
    before = set(threading.enumerate())
    for number in range(1, 101):
        assert table.commit(rows(), cursors={"n": number}) == number
    assert checkpoints() == []
    may_go_on.set()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    assert checkpoints() == [20, 40, 60, 80, 100]
    assert DeltaTable(table.uri).transaction_version("n") == table.cursors()["n"] == 100
