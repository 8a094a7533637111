"""Compaction changes the files and nothing else, and never stands in another writer's way."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from dagster_project.accounting.account import account
from dagster_project.errors import StaleCursorError
from dagster_project.lake import compaction, specs
from dagster_project.lake.compaction import Compacted, compact, portions, publish_portion, read_portion
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from dagster_project.refine.plan import pending_silver
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import Lake, Message, reading, tombstone

DAYS = 6
BATCHES = 6


@pytest.fixture
def filled(lake: Lake) -> Lake:
    """Six batches, each with a row for each of six days, a poison message and a delete; all but the last refined."""
    for number in range(BATCHES):
        if number == BATCHES - 1:
            lake.refine()
            lake.compute()
        arrive(lake, number)
        if number < BATCHES - 2:
            lake.refine()
            lake.compute()
    return lake


def arrive(lake: Lake, number: int) -> None:
    first = number * (DAYS + 2)
    events = [reading(first + day, f"{number}-{day}", day=day + 1, level=day - 1) for day in range(DAYS)]
    lake.arrive(
        *events,
        Message(offset=first + DAYS, payload=b"?"),
        tombstone(first + DAYS + 1, f"{number - 1}-1", at=9),
    )


def all_specs(lake: Lake) -> list[TableSpec]:
    of = lake.dataset
    return [specs.bronze(of), specs.silver(of), specs.quarantine(of), specs.gold(lake.mart)]


def found(spec: TableSpec, storage: Storage) -> Table:
    table = Table.find(spec, storage=storage)
    assert table is not None
    return table


def own_cursors(table: Table) -> dict[str, int]:
    """What the rows were computed from; the mark by which two that remove files exclude each other says nothing of it."""
    return {name: value for name, value in table.cursors().items() if name != "removals"}


def content(table: Table) -> pl.DataFrame:
    rows = table.rows().collect()
    return rows.select(pl.all().map_elements(repr, return_dtype=pl.String, skip_nulls=False)).sort(pl.all())


def check_statistics(table: Table) -> None:
    """Each file's count and bounds, against its rows."""
    files = table.files()
    rows = table.rows(files, with_path=True)
    names = list(table.spec.statistics)
    expected = rows.group_by(pl.col("_path").alias("path")).agg(
        pl.len().cast(pl.Int64).alias("num_records"),
        *(pl.min(name).alias(f"min.{name}") for name in names),
        *(pl.max(name).alias(f"max.{name}") for name in names),
    )
    assert_frame_equal(
        files.select(expected.collect_schema().names()).sort("path"), expected.sort("path").collect(), check_dtypes=True
    )


def test_rows_cursors_and_statistics_stay_and_files_become_fewer(filled: Lake) -> None:
    for spec in all_specs(filled):
        before = found(spec, filled.storage)
        done = list(compact(spec, storage=filled.storage))
        after = found(spec, filled.storage)
        assert own_cursors(after) == own_cursors(before)
        assert_frame_equal(content(after), content(before))
        check_statistics(after)
        removed = sum(item.files - item.into for item in done)
        assert len(after.files()) == len(before.files()) - removed
        assert [item.version for item in done] == list(range(before.version + 1, after.version + 1))
        assert list(compact(spec, storage=filled.storage)) == []  # and there is nothing left to do
        if spec.layer == "silver":
            assert (removed > 0, after.files().group_by(specs.KEYS).len()["len"].max()) == (True, 1)
    assert pending_silver(filled.dataset, filled.tables()) != []


def test_accounts_and_later_rows_do_not_see_it(filled: Lake) -> None:
    def accounted() -> object:
        return account(filled.dataset, catalog=filled.catalog, storage=filled.storage, topic=None, bootstrap_servers="")

    before = accounted()
    for spec in all_specs(filled):
        list(compact(spec, storage=filled.storage))
    assert accounted() == before
    filled.refine()
    arrive(filled, BATCHES)
    filled.refine()
    filled.compute()
    last = account(filled.dataset, catalog=filled.catalog, storage=filled.storage, topic=None, bootstrap_servers="")
    assert (last.accounted, last.pending, last.problems) == (True, 0, ())
    # Of each batch one day breaks a rule; of each but the last one row is deleted.
    alive = {f"{number}-{day}" for number in range(BATCHES + 1) for day in range(1, DAYS)}
    assert set(filled.live()) == alive - {f"{number}-1" for number in range(BATCHES)}


def test_of_bronze_the_newest_days_are_left_alone(filled: Lake) -> None:
    before = filled.bronze.files()
    (done,) = compact(specs.bronze(filled.dataset), storage=filled.storage)
    kept = before.join(filled.bronze.files(), on="path", how="semi")
    assert set(kept["event_date"]) == {dt.date(2026, 1, day) for day in (4, 5, 6)}
    # Three days and the rows without one, of six files each.
    assert (done.partitions, done.files, done.into, done.rows) == (4, 24, 4, 30)


def test_few_files_and_large_ones_are_left_alone(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        lake.arrive(reading(number, f"{number}"))
        lake.refine()
    silver = specs.silver(lake.dataset)
    assert list(compact(silver, storage=lake.storage)) == []
    lake.arrive(reading(3, "3"))
    lake.refine()
    assert [done.files for done in compact(silver, storage=lake.storage, rehearse=True)] == [4]
    monkeypatch.setattr(compaction, "_ROWS", 4)  # a file of one row is now a large one
    assert list(compact(silver, storage=lake.storage)) == []


@pytest.mark.parametrize("bound", [("_ROWS", 8), ("_BYTES", 30_000)])
def test_a_commit_holds_a_bounded_part(lake: Lake, monkeypatch: pytest.MonkeyPatch, bound: tuple[str, int]) -> None:
    for number in range(12):
        lake.arrive(reading(number, f"{number}", day=1 + number % 2))
        lake.refine()
    before = content(lake.silver)
    monkeypatch.setattr(compaction, *bound)
    monkeypatch.setattr(compaction, "_LARGE", 2)
    done = list(compact(specs.silver(lake.dataset), storage=lake.storage))
    assert len(done) > 1
    assert max(item.rows for item in done) <= 8
    assert max(item.bytes for item in done) <= 32_000
    assert_frame_equal(content(lake.silver), before)
    check_statistics(lake.silver)


def test_a_rehearsal_changes_nothing(filled: Lake) -> None:
    spec = specs.bronze(filled.dataset)
    version, files = filled.bronze.version, set(Path(filled.bronze.uri).rglob("*"))
    (told,) = compact(spec, storage=filled.storage, rehearse=True)
    assert (filled.bronze.version, set(Path(filled.bronze.uri).rglob("*"))) == (version, files)
    (done,) = compact(spec, storage=filled.storage)
    assert replace(done, version=None) == told


def test_no_file_is_deleted(filled: Lake) -> None:
    before = set(Path(filled.silver.uri).rglob("*.parquet"))
    old = found(specs.silver(filled.dataset), filled.storage)
    list(compact(old.spec, storage=filled.storage))
    assert before < set(Path(filled.silver.uri).rglob("*.parquet"))
    assert len(old.rows().collect()) > 0  # a reader of the version before goes on


def test_a_table_that_was_never_written_is_nothing_to_do(lake: Lake) -> None:
    assert list(compact(specs.silver(lake.dataset), storage=lake.storage)) == []


def test_ingest_commits_while_compaction_is_between_reading_and_committing(filled: Lake) -> None:
    table = filled.bronze
    (portion,) = portions(table)
    rows = read_portion(table, portion)
    arrive(filled, BATCHES)
    publish_portion(table, portion, rows)
    arrive(filled, BATCHES + 1)
    offsets = sorted(filled.bronze.rows().collect()["_kafka_offset"])
    assert offsets == list(range((BATCHES + 2) * (DAYS + 2)))
    assert own_cursors(filled.bronze).items() >= filled.cursor.to_table().items()


def test_compaction_commits_while_ingest_is_between_reading_and_committing(filled: Lake) -> None:
    ingest = filled.bronze
    batch = filled.bronze.rows().filter(pl.col("_batch_id") == 0).collect()
    moved = batch.with_columns(pl.col("_kafka_offset") + 1_000, pl.lit(6, pl.Int64).alias("_batch_id"))
    before = ingest.version
    (done,) = compact(ingest.spec, storage=filled.storage)
    assert done.version == before + 1
    assert ingest.commit(moved, cursors={"batch": 6}) == before + 2
    assert filled.bronze.cursors()["batch"] == 6
    assert len(filled.bronze.rows().collect()) == BATCHES * (DAYS + 2) + len(moved)


@pytest.mark.parametrize("layer", ["bronze", "silver"])
def test_of_two_compactions_one_gives_up(filled: Lake, layer: str) -> None:
    spec = next(spec for spec in all_specs(filled) if spec.layer == layer)
    before = content(found(spec, filled.storage))
    first, second = found(spec, filled.storage), found(spec, filled.storage)
    plans = [portions(table)[0] for table in (first, second)]
    rows = [read_portion(table, plan) for table, plan in zip((first, second), plans, strict=True)]
    publish_portion(first, plans[0], rows[0])
    with pytest.raises(StaleCursorError):
        publish_portion(second, plans[1], rows[1])
    assert_frame_equal(content(found(spec, filled.storage)), before)


def test_another_writer_of_silver_wins(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def outpaced(table: Table, portion: pl.DataFrame) -> pl.DataFrame:
        rows = read_portion(table, portion)
        filled.refine()
        return rows

    monkeypatch.setattr(compaction, "read_portion", outpaced)
    spec = specs.silver(filled.dataset)
    (done,) = compact(spec, storage=filled.storage)
    assert (done.outpaced, done.version) == (True, None)
    rows = filled.silver.rows().collect()
    assert rows.select("id").is_duplicated().sum() == 0
    assert pending_silver(filled.dataset, filled.tables()) == []


def test_what_another_writer_removed_between_two_commits_does_not_come_back(
    filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first commit compaction reads on at the newest version, which another writer has made."""
    monkeypatch.setattr(compaction, "_ROWS", 16)
    commits = compact(specs.silver(filled.dataset), storage=filled.storage)
    assert isinstance(next(commits), Compacted)
    filled.refine()
    # As the very next step of another run: its handle is at the newest version, so its commit is not refused.
    after = content(filled.silver)
    for done in commits:
        assert done.outpaced or done.version is not None
    assert_frame_equal(content(filled.silver), after)


def test_a_column_that_the_contract_has_dropped_keeps_its_values(filled: Lake) -> None:
    spec = specs.silver(filled.dataset)
    narrow = replace(spec, schema={name: dtype for name, dtype in spec.schema.items() if name != "level"})
    before = content(filled.silver)
    assert [done.version is not None for done in compact(narrow, storage=filled.storage)] == [True]
    assert_frame_equal(content(filled.silver), before)


def test_a_column_that_the_contract_has_gained_is_null_in_old_rows(filled: Lake) -> None:
    wide = replace(specs.silver(filled.dataset), schema={**specs.silver(filled.dataset).schema, "new": pl.String()})
    Table.open(wide, storage=filled.storage)
    assert len(list(compact(specs.silver(filled.dataset), storage=filled.storage))) == 1
    assert found(wide, filled.storage).rows().collect()["new"].null_count() == len(filled.silver.rows().collect())


KILLED = """
import os, signal, sys
from dagster_project.lake import compaction, table
from tests.unit.lakes import Lake, small_catalog
from pathlib import Path

folder, moment = Path(sys.argv[1]), sys.argv[2]
lake = Lake.at(folder / "lake", catalog=small_catalog(folder / "contracts"))
def die(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the files":
    compaction.publish_portion = die
elif moment == "before the commit":
    table.spelled = die
else:
    table.Table.refresh = die
list(compaction.compact(lake.silver.spec, storage=lake.storage))
"""


@pytest.mark.parametrize("moment", ["before the files", "before the commit", "after the commit"])
def test_a_kill_changes_nothing_that_a_reader_sees(filled: Lake, tmp_path: Path, moment: str) -> None:
    before, cursors = content(filled.silver), dict(filled.silver.cursors())
    version = filled.silver.version
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), moment], cwd=REPOSITORY, check=False)
    assert killed.returncode == -9
    assert filled.silver.version == version + (moment == "after the commit")
    assert_frame_equal(content(filled.silver), before)
    assert dict(filled.silver.cursors()) == cursors
    list(compact(specs.silver(filled.dataset), storage=filled.storage))
    assert_frame_equal(content(filled.silver), before)
    filled.refine()
    assert pending_silver(filled.dataset, filled.tables()) == []
