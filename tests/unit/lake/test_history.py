"""The commit by which a cursor had first come so far, whatever there is of the log."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import polars as pl
import pytest

from dagster_project.lake.history import Arrival, History
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec

SPEC = TableSpec(layer="silver", name="things", schema={"n": pl.Int64()}, partition_by=())
COMMITS = 70


def log_of(table: Table, version: int, kind: str = "json") -> Path:
    return Path(f"{table.uri}/_delta_log/{version:020d}.{kind}")


@pytest.fixture
def moves(tmp_path: Path) -> tuple[Table, dict[int, dict[str, int]]]:
    """A table, and by version what its commit moved: three checkpoints, and commits after the last."""
    dice = random.Random(7)
    table = Table.open(SPEC, storage=Storage.at(str(tmp_path)))
    value = {"a": 0, "b": 0}
    moved: dict[int, dict[str, int]] = {}
    for version in range(1, COMMITS + 1):
        moved[version] = {}
        for name, often in (("a", 0.8), ("b", 0.1)):
            if dice.random() < often:
                value[name] += dice.choice([0, 1, 1, 5])
                moved[version][name] = value[name]
        assert table.commit(pl.DataFrame({"n": [version]}), cursors=moved[version]) == version
        if version % 20 == 0:  # as the thread does that stands beside
            table._checkpoint()
    return table, moved


def expected(moved: dict[int, dict[str, int]], name: str, value: int) -> tuple[int, int | None] | None:
    before = None
    for version, cursors in moved.items():
        if cursors.get(name, -1) >= value:
            return version, before
        before = cursors.get(name, before)
    return None


def test_it_is_the_first_commit_that_had_it_and_what_was_there_before(
    moves: tuple[Table, dict[int, dict[str, int]]],
) -> None:
    table, moved = moves
    history = History(table)
    for name in ("a", "b", "c"):
        for value in range(max((cursors.get(name, 0) for cursors in moved.values()), default=0) + 2):
            found, due = history.arrival(name, value), expected(moved, name, value)
            if due is None:
                assert found is None
            else:
                assert found is not None
                assert found.commit is not None
                assert (found.commit.version, found.before) == due
                made = dt.datetime.fromtimestamp(found.commit.timestamp_ms / 1000, dt.UTC)
                assert dt.datetime.now(dt.UTC) - made < dt.timedelta(minutes=5)


def test_what_the_log_no_longer_tells_is_not_guessed(moves: tuple[Table, dict[int, dict[str, int]]]) -> None:
    table, moved = moves
    for version in range(40):
        log_of(table, version).unlink()
    log_of(table, 20, "checkpoint.parquet").unlink()
    history = History(Table(SPEC, storage=Storage.at(str(Path(table.uri).parent.parent)), head=table._head))
    at_forty = max(cursors["a"] for version, cursors in moved.items() if version <= 40 and "a" in cursors)
    assert history.arrival("a", 1) == Arrival()
    assert history.arrival("a", at_forty) == Arrival()
    later = history.arrival("a", at_forty + 1)
    assert later is not None
    assert later.commit is not None
    due = expected(moved, "a", at_forty + 1)
    assert due is not None
    assert later.commit.version == due[0] > 40
    assert history.commit(39) is None
    assert history.commit(41) is not None


def test_commits_name_the_run_that_made_them(tmp_path: Path) -> None:
    table = Table.open(SPEC, storage=Storage(uri=str(tmp_path), run_id="run-1"))
    table.commit(pl.DataFrame({"n": [1]}), cursors={"a": 1})
    plain = Table.find(SPEC, storage=Storage.at(str(tmp_path)))
    assert plain is not None
    plain.commit(pl.DataFrame({"n": [1]}), cursors={"a": 2})
    history = History(plain)
    runs = [
        found.commit.info.get("run_id") for value in (1, 2) if (found := history.arrival("a", value)) and found.commit
    ]
    assert runs == ["run-1", None]
