"""Files that are needed no more leave the store; tables, cursors and whoever is at work with them do not notice."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import unquote

import pytest
from polars.testing import assert_frame_equal

from dagster_project.accounting.account import account
from dagster_project.lake.head import HeadReader
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.lake.vacuum import KEPT_HOURS, tidy_log, vacuum
from dagster_project.lifecycle.upkeep import tend, usd_per_month
from tests.unit.lakes import Lake, Message, reading

BATCHES = 8
DAY_S = 86_400.0


@pytest.fixture
def lived_in(lake: Lake) -> Lake:
    """Eight batches with poison, all refined: small files in each table."""
    for number in range(BATCHES):
        lake.arrive(reading(2 * number, f"k{number}"), Message(offset=2 * number + 1, payload=b"?"))
        lake.refine()
        lake.compute()
    return lake


def aged(folder: Path, days: float) -> None:
    """Make all files look as if they had been written so long ago."""
    then = time.time() - days * DAY_S
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def data(table: Table) -> set[str]:
    root = Path(table.uri)
    return {str(path.relative_to(root)) for path in root.rglob("*.parquet") if "_delta_log" not in path.parts}


def live(table: Table) -> set[str]:
    return set(map(unquote, table.files()["path"]))


def problems(lake: Lake) -> tuple[str, ...]:
    return account(
        lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="", deep=True
    ).problems


@pytest.mark.parametrize("layer", ["bronze", "silver", "gold"])
def test_after_compaction_and_vacuum_only_the_files_of_the_newest_version_are_left(lived_in: Lake, layer: str) -> None:
    table: Table = getattr(lived_in, layer)
    rows = table.rows().collect()
    first = tend(table.spec, storage=lived_in.storage, usd_per_gb_month=0.023)
    assert first is not None
    # Young ones stay, whoever may still read them.
    assert (first.vacuumed_files, first.after.files >= first.before.files) == (0, True)
    again = tend(table.spec, storage=lived_in.storage, usd_per_gb_month=1e6, kept_hours=0)
    assert again is not None
    newest: Table = getattr(lived_in, layer)
    assert data(newest) == live(newest)
    assert (again.vacuumed_files, again.after.files) == (first.after.files - again.after.live_files, len(live(newest)))
    assert again.vacuumed_bytes == again.before.bytes - again.after.bytes > 0
    assert again.saved_usd_per_month == pytest.approx(again.vacuumed_bytes / 2**30 * 1e6, abs=1e-5)
    assert_frame_equal(newest.rows().collect(), rows, check_row_order=False)
    assert problems(lived_in) == ()


def test_a_file_of_a_writer_that_was_killed_goes_once_it_is_old_and_one_of_a_writer_at_work_stays(
    lived_in: Lake,
) -> None:
    table = lived_in.silver
    folder = (Path(table.uri) / unquote(table.files()["path"][0])).parent
    orphan, fresh = folder / "orphan.parquet", folder / "fresh.parquet"
    orphan.write_bytes(b"left behind")
    aged(Path(table.uri), KEPT_HOURS / 24 + 1)
    fresh.write_bytes(b"not committed yet")
    assert list(vacuum(table, rehearse=True)) == [str(orphan.relative_to(table.uri))]
    assert orphan.exists()
    assert list(vacuum(table)) == [str(orphan.relative_to(table.uri))]
    assert (orphan.exists(), fresh.exists()) == (False, True)
    assert live(lived_in.silver) <= data(lived_in.silver)


def test_a_reader_of_the_version_before_goes_on(lived_in: Lake) -> None:
    table = lived_in.silver
    aged(Path(table.uri), 365)  # old files, but the newest version only now went on without them
    tend(table.spec, storage=lived_in.storage, usd_per_gb_month=0.023)
    assert len(lived_in.silver.files()) < len(table.files())
    assert len(table.rows().collect()) == BATCHES


def test_two_vacuums_at_once_are_one(lived_in: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    table = lived_in.gold
    rows = table.rows().collect()
    remove = type(table.filesystem).rm

    def outrun(self: object, paths: list[str]) -> None:
        Path(paths[0]).unlink()
        monkeypatch.setattr(type(table.filesystem), "rm", remove)
        remove(table.filesystem, paths)

    monkeypatch.setattr(type(table.filesystem), "rm", outrun)
    gone = vacuum(table, kept_hours=0)
    assert len(gone) == BATCHES - 1
    assert data(lived_in.gold) == live(lived_in.gold)
    assert_frame_equal(lived_in.gold.rows().collect(), rows)


def test_the_log_is_cut_short_and_cursors_are_not(lived_in: Lake) -> None:
    table = lived_in.silver
    before = dict(table.cursors())
    log = Path(table.uri) / "_delta_log"
    aged(log, 31)
    lived_in.arrive(reading(100, "new"))
    lived_in.refine()
    table = lived_in.silver
    assert tidy_log(table) == table.version
    aged(log, 31)
    lived_in.arrive(reading(101, "newer"))
    lived_in.refine()
    table = lived_in.silver
    assert tidy_log(table) == table.version
    assert tidy_log(table) is None
    commits = {int(path.name[:20]) for path in log.glob("*.json")}
    assert (len(commits) <= 2, max(commits)) == (True, table.version)
    cold = HeadReader(table.filesystem).newest(table.uri)  # of a process that begins
    assert cold is not None
    assert (cold.version, cold.cursors) == (table.version, table.cursors())
    assert before.keys() <= cold.cursors.keys()
    assert problems(lived_in) == ()
    lived_in.arrive(reading(102, "newest"))
    lived_in.refine()
    assert "newest" in lived_in.live()


def test_a_table_that_was_never_written_is_nothing_to_do(lake: Lake, tmp_path: Path) -> None:
    spec = lake.silver.spec
    assert tend(spec, storage=Storage.at(str(tmp_path / "empty")), usd_per_gb_month=0.023) is None


def test_a_rehearsal_changes_nothing(lived_in: Lake) -> None:
    files = set(Path(lived_in.storage.uri).rglob("*"))
    told = tend(lived_in.silver.spec, storage=lived_in.storage, usd_per_gb_month=0.023, kept_hours=0, rehearse=True)
    assert told is not None
    assert ([done.files for done in told.compacted], told.checkpoint, told.before) == ([BATCHES], None, told.after)
    assert set(Path(lived_in.storage.uri).rglob("*")) == files


def test_the_price_is_of_two_to_the_thirty_bytes() -> None:
    assert usd_per_month(2**30, 0.023) == 0.023
    assert usd_per_month(-(2**29), 0.023) == -0.0115
