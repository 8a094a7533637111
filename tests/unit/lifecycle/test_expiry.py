"""What is older than the retention is deleted whole, counted, and remembered; what that costs is said."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import polars as pl
import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.contract.model import Catalog
from dagster_project.errors import AccountingError, ExpiredError
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import Entry, Ledger
from dagster_project.lifecycle import expiry
from dagster_project.lifecycle.expiry import Expired, expire
from dagster_project.refine.expired import give_up, missing
from dagster_project.refine.plan import pending_silver
from dagster_project.refine.silver import refine
from dagster_project.settings import REPOSITORY
from tests.unit.lakes import Lake, Message, reading, tombstone

# The retention of the small contract is 30 days: the first of January has just passed it.
NOW = dt.datetime(2026, 2, 1, 0, 0, 1, tzinfo=dt.UTC)
FIRST, SECOND = "2026-01-01/eu", "2026-01-02/eu"


def of(lake: Lake) -> Account:
    return account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")


def run(lake: Lake, now: dt.datetime = NOW) -> list[Expired]:
    return list(expire(lake.dataset, storage=lake.storage, now=now))


def counts(found: Account) -> dict[str, int]:
    names = (
        "silver_rows",
        "superseded",
        "quarantined",
        "tombstones",
        "pending",
        "lost",
        "gaps",
        "unaccounted",
        "offsets",
    )
    return {name: getattr(found, name) for name in names}


def remembered(lake: Lake) -> pl.DataFrame:
    """What the ledger has of expired rows."""
    table = Table.find(specs.ledger(lake.dataset), storage=lake.storage)
    return Ledger.read(table, lake.cursor.topic(lake.dataset.topic.name), kind="expired").rows


@pytest.fixture
def full(lake: Lake) -> Lake:
    """Three days: rows, a superseded one, one in quarantine, a delete, and poison; all of it refined."""
    lake.arrive(
        reading(0, "a", at=1),
        reading(1, "a", at=2),
        reading(2, "bad", level=-1),
        reading(3, "b", day=2),
        reading(4, "us", day=2, region="us"),
        Message(offset=5, payload=b"{"),
        reading(6, "gone", day=2),
    )
    lake.arrive(reading(7, "c", day=3), tombstone(8, "gone", at=9), reading(9, "d", day=2))
    lake.refine()
    lake.compute()
    return lake


def test_whole_table_partitions_older_than_the_retention_are_deleted_and_every_offset_keeps_its_place(
    full: Lake,
) -> None:
    before, silver = of(full), full.silver.rows().collect()
    (done,) = run(full)
    assert done.partitions == (FIRST,)
    assert (done.rows, done.places) == (3, {"silver_rows": 1, "superseded": 1, "quarantined": 1})
    assert set(full.bronze.files()["event_date"].drop_nulls()) == {dt.date(2026, 1, 2), dt.date(2026, 1, 3)}
    (second,) = run(full, NOW + dt.timedelta(days=1))
    assert second.partitions == (SECOND, "2026-01-02/us")
    assert (second.rows, second.places) == (4, {"silver_rows": 3, "superseded": 1})
    # Poison and deletes have no date, and stay.
    assert sorted(full.bronze.rows().collect()["_kafka_offset"]) == [5, 7, 8]
    after = of(full)
    assert (after.accounted, after.problems, after.expired, after.bronze_rows) == (True, (), 7, 3)
    assert counts(after) == counts(before)
    assert full.silver.rows().collect().equals(silver)
    assert run(full, NOW + dt.timedelta(days=1)) == []


def test_the_ledger_has_the_table_partition_and_the_place_of_each_offset(full: Lake) -> None:
    run(full, NOW + dt.timedelta(days=1))
    rows = remembered(full).select("event_date", "region", "place", "_kafka_partition", "first_offset", "last_offset")
    first, second = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
    assert sorted(rows.rows()) == [
        (first, "eu", "quarantined", 0, 2, 2),
        (first, "eu", "silver_rows", 0, 1, 1),
        (first, "eu", "superseded", 0, 0, 0),
        (second, "eu", "silver_rows", 0, 3, 3),
        (second, "eu", "silver_rows", 0, 9, 9),
        (second, "eu", "superseded", 0, 6, 6),
        (second, "us", "silver_rows", 0, 4, 4),
    ]


def test_a_table_partition_lasts_until_its_last_moment_is_older_than_the_retention(full: Lake) -> None:
    assert run(full, NOW - dt.timedelta(seconds=2)) == []


def test_what_silver_has_not_read_is_kept_however_old(full: Lake) -> None:
    full.arrive(reading(10, "late"))
    assert run(full) == []
    full.refine()
    assert [done.partitions for done in run(full)] == [(FIRST,)]


def test_a_rehearsal_says_the_same_and_deletes_nothing(full: Lake) -> None:
    version, files = full.bronze.version, set(Path(full.storage.uri).rglob("*"))
    told = list(expire(full.dataset, storage=full.storage, now=NOW, rehearse=True))
    assert (full.bronze.version, set(Path(full.storage.uri).rglob("*"))) == (version, files)
    assert [replace(done, version=None) for done in run(full)] == told


def test_rows_are_counted_against_the_log_before_anything_is_deleted(full: Lake) -> None:
    """A file that holds fewer rows than its log says."""
    bronze = full.bronze
    file = bronze.files().filter(pl.col("event_date") == dt.date(2026, 1, 1))
    path = Path(bronze.uri) / unquote(file["path"][0])
    pl.read_parquet(path, hive_partitioning=False).head(2).write_parquet(path)
    with pytest.raises(AccountingError, match=f"{FIRST} has 2 rows, and 3 by its log"):
        run(full)
    assert (full.bronze.version, len(remembered(full))) == (bronze.version, 0)


def test_rows_without_a_proven_place_are_kept(full: Lake) -> None:
    silver = full.silver
    silver.commit(silver.rows().filter(pl.col("id") != "a").collect(), remove=silver.files(), cursors={})
    with pytest.raises(AccountingError, match="2 offsets are neither in Silver, superseded, nor quarantined: 0/0-1"):
        run(full)
    assert len(remembered(full)) == 0


def test_a_late_row_of_an_expired_table_partition_is_refined_and_then_deleted_too(full: Lake) -> None:
    run(full)
    full.arrive(reading(10, "late"), reading(11, "a", at=5))
    full.refine()
    assert {"late", "a"} <= set(full.live())
    found = of(full)
    assert (found.accounted, found.problems, found.expired) == (True, (), 3)
    assert [done.rows for done in run(full)] == [2]
    found = of(full)
    assert (found.accounted, found.problems, found.expired) == (True, (), 5)


def test_a_row_that_is_superseded_after_it_has_expired_is_superseded(full: Lake) -> None:
    run(full)
    before = of(full)
    full.arrive(reading(10, "a", at=9, day=1))
    full.refine()
    after = of(full)
    assert (after.accounted, after.problems) == (True, ())
    assert (after.silver_rows, after.superseded) == (before.silver_rows, before.superseded + 1)


def test_of_an_append_only_dataset_a_row_that_silver_loses_after_it_has_expired_is_missed(
    tmp_path: Path, catalog: Catalog
) -> None:
    lake = Lake.at(tmp_path / "lake", catalog=catalog, write_mode="append")
    lake.arrive(reading(0, "a"), reading(1, "b"), reading(2, "a"), reading(3, "bad", level=-1))
    lake.refine()
    run(lake)
    assert of(lake).accounted
    for table in (lake.silver, lake.quarantine):
        table.commit(
            table.rows().filter(~pl.col("_kafka_offset").is_in([1, 3])).collect(), remove=table.files(), cursors={}
        )
    found = of(lake)
    assert (found.unaccounted, found.superseded) == (2, 1)
    assert found.problems == ("2 offsets are neither in Silver, superseded, nor quarantined: 0/1, 0/3",)


def test_a_deletion_that_the_ledger_does_not_know_is_found(full: Lake) -> None:
    bronze = full.bronze
    files = bronze.files().filter(pl.col("event_date") == dt.date(2026, 1, 1))
    bronze.commit(pl.DataFrame(schema=dict(bronze.spec.schema)), remove=files, cursors={"expired": 3})
    assert "3 rows of Bronze have expired, but the ledger has 0 of them" in of(full).problems


def test_what_has_expired_cannot_be_judged_afresh_and_the_error_names_it(full: Lake) -> None:
    run(full, NOW + dt.timedelta(days=1))
    silver = full.silver.version
    days = [Key(dt.date(2026, 1, day), region) for day in (1, 2, 3) for region in ("eu", "us")]
    with pytest.raises(ExpiredError) as refused:
        list(refine(full.dataset, storage=full.storage, keys=days, afresh=True))
    assert refused.value.found == (
        "silver/readings cannot be rebuilt in 3 table partitions: 7 rows of Bronze were deleted after the retention of 30 days"
        "\n    2026-01-01/eu: 3 rows, offsets 0/0-2"
        "\n    2026-01-02/eu: 3 rows, offsets 0/3, 0/6, 0/9"
        "\n    2026-01-02/us: 1 rows, offsets 0/4"
    )
    assert full.silver.version == silver
    assert sum(done.quarantined for done in refine(full.dataset, storage=full.storage, keys=days[4:], afresh=True)) == 0


def test_silver_that_was_made_anew_is_not_filled_with_less(full: Lake) -> None:
    run(full)
    shutil.rmtree(full.silver.uri)
    assert Key(dt.date(2026, 1, 1), "eu") in pending_silver(full.dataset, full.tables())
    with pytest.raises(ExpiredError, match="1 table partitions: 3 rows"):
        full.refine()
    assert len(full.silver.files()) == 0
    assert (
        "silver/readings has not read 1 table partitions that have expired in Bronze, the first 2026-01-01/eu"
        in of(full).problems
    )


def test_once_it_is_given_up_silver_is_made_of_what_is_left(full: Lake) -> None:
    before = of(full)
    run(full)
    assert len(missing(full.dataset, storage=full.storage)) == 0
    shutil.rmtree(full.silver.uri)
    assert missing(full.dataset, storage=full.storage).named(5) == "0/0-1"
    for offsets in (2, 0):
        given_up = give_up(full.dataset, reason="the disk is gone", by="ops", storage=full.storage)
        assert len(given_up) == offsets
    full.refine()
    full.compute()
    found = of(full)
    assert (found.problems, found.lost, found.expired, found.pending) == ((), 2, 3, 0)
    # Of the three one had been a row, one superseded, and one in quarantine, where it still is.
    assert (found.silver_rows, found.superseded) == (before.silver_rows - 1, before.superseded - 1)
    assert set(full.live()) == {"b", "us", "c", "d"}
    assert [done.rows for done in run(full, NOW + dt.timedelta(days=1))] == [4]
    assert of(full).problems == ()


def test_an_ingest_between_reading_and_deleting_keeps_its_rows(full: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(*arguments: Any, **options: Any) -> list[Entry]:
        found = prove(*arguments, **options)
        full.arrive(reading(10, "late"))
        return found

    prove = expiry.prove
    monkeypatch.setattr(expiry, "prove", meanwhile)
    (done,) = run(full)
    assert (done.rows, done.version is not None) == (3, True)
    assert 10 in set(full.bronze.rows().collect()["_kafka_offset"])
    full.refine()
    assert of(full).problems == ()


def test_an_ingest_that_has_read_the_table_before_commits_after(full: Lake) -> None:
    ingest = full.bronze
    batch = ingest.rows().filter(pl.col("_kafka_offset") == 7).collect()
    (done,) = run(full)
    rows = batch.with_columns(pl.lit(10, pl.Int64).alias("_kafka_offset"), pl.lit(2, pl.Int64).alias("_batch_id"))
    assert ingest.commit(rows, cursors={"batch": 2}) == (done.version or 0) + 1
    assert sorted(full.bronze.rows().collect()["_kafka_offset"]) == [*range(3, 11)]
    assert full.bronze.cursors()["expired"] == 3


def test_compaction_that_comes_first_is_given_way(full: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        full.arrive(reading(10 + number, f"more{number}"))
    full.arrive(reading(14, "new", day=9))
    full.refine()

    def meanwhile(*arguments: Any, **options: Any) -> list[Entry]:
        found = prove(*arguments, **options)
        assert [done.version is not None for done in compact(full.bronze.spec, storage=full.storage)] == [True]
        return found

    prove = expiry.prove
    monkeypatch.setattr(expiry, "prove", meanwhile)
    (done,) = run(full)
    assert (done.outpaced, done.version) == (True, None)
    assert of(full).problems == ()
    monkeypatch.undo()
    (done,) = run(full)
    assert (done.rows, done.outpaced) == (7, False)
    # Written into the ledger once, though two runs have proven them.
    assert sum((remembered(full)["last_offset"] - remembered(full)["first_offset"] + 1).to_list()) == 7
    assert of(full).problems == ()


KILLED = """
import datetime as dt, os, signal, sys
from pathlib import Path
from dagster_project.lake import table
from dagster_project.lifecycle import expiry
from tests.unit.lakes import Lake, small_catalog

folder, moment = Path(sys.argv[1]), sys.argv[2]
lake = Lake.at(folder / "lake", catalog=small_catalog(folder / "contracts"))
def die(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "before the ledger":
    expiry.write = die
else:
    write = expiry.write
    def last(*arguments, **options):
        write(*arguments, **options)
        die()
    expiry.write = last
now = dt.datetime.fromisoformat(sys.argv[3])
list(expiry.expire(lake.dataset, storage=lake.storage, now=now))
"""


@pytest.mark.parametrize("moment", ["before the ledger", "before the deletion"])
def test_a_run_that_was_killed_is_finished_by_the_next_one(full: Lake, tmp_path: Path, moment: str) -> None:
    before = counts(of(full))
    command = [sys.executable, "-c", KILLED, str(tmp_path), moment, NOW.isoformat()]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -9
    found = of(full)
    assert (found.problems, found.expired, counts(found)) == ((), 0, before)
    assert len(remembered(full)) == (0 if moment == "before the ledger" else 3)
    assert [done.rows for done in run(full)] == [3]
    found = of(full)
    assert (found.problems, found.expired, counts(found)) == ((), 3, before)
    assert len(remembered(full)) == 3
