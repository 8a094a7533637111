"""Rows a second are those of the commits, whenever they are read."""

from __future__ import annotations

import time

import pytest

from dagster_project.dashboard.rates import SPAN_S, STEP_S, CommitReader, rates
from dagster_project.lake import specs
from tests.unit.lakes import Lake, reading


def test_rows_fall_into_steps() -> None:
    now = 10_000.0
    commits = [(now - 5, 30), (now - 15, 100), (now - 12, 20), (now - SPAN_S - 100, 7)]
    found = rates({"bronze": commits}, now=now)
    assert (found.at[-1], len(found.at)) == (int(now) - STEP_S, SPAN_S // STEP_S)
    assert found.layers["bronze"][-2:] == (12.0, 3.0)
    assert sum(found.layers["bronze"]) * STEP_S == 150
    assert found.now["bronze"] == pytest.approx(150 / 60)


def test_a_step_that_is_not_over_is_not_shown() -> None:
    found = rates({"bronze": [(10_001.0, 50)]}, now=10_004.0)
    assert (found.at[-1], found.layers["bronze"][-1]) == (9_990, 0)


def test_each_commit_counts_once_and_compaction_not_at_all(lake: Lake) -> None:
    rows = lake.bronze.rows().head(0).collect()
    reader = CommitReader([specs.bronze(lake.dataset)], storage=lake.storage)
    for count in (3, 5):
        lake.bronze.commit(rows, cursors={}, metadata={"rows": count})
    assert [number for _, number in reader.read()["bronze"]] == [3, 5]
    lake.bronze.commit(rows, cursors={}, metadata={"compacted_files": 4})
    lake.bronze.commit(rows, cursors={}, metadata={"rows": 2})
    found = reader.read()["bronze"]
    assert [number for _, number in found] == [3, 5, 2]
    assert all(abs(time.time() - at) < 60 for at, _ in found)
    assert reader.read()["bronze"] == found


def test_more_commits_than_are_read_at_a_time(lake: Lake) -> None:
    rows = lake.bronze.rows().head(0).collect()
    for count in range(1, 71):
        lake.bronze.commit(rows, cursors={}, metadata={"rows": count})
    found = CommitReader([specs.bronze(lake.dataset)], storage=lake.storage).read()["bronze"]
    assert [number for _, number in found] == list(range(1, 71))


def test_a_table_that_is_not_there(lake: Lake) -> None:
    lake.arrive(reading(0))
    found = CommitReader([specs.silver(lake.dataset)], storage=lake.storage).read()
    assert found == {"silver": ()}
