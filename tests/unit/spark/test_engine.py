"""What a Spark job has written is published as all else is, or not at all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from deltalake import DeltaTable

from dagster_project.contract.quality import Bound, TableRule
from dagster_project.errors import ContractError, EngineError
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine.gold import Computed, compute
from dagster_project.spark.engine import SparkEngine
from tests.unit.lakes import Lake, reading
from tests.unit.spark.jobs import Job

DAY = dt.date(2026, 1, 1)
EU, US = ("2026-01-01", "eu"), ("2026-01-01", "us")


@pytest.fixture
def filled(lake: Lake) -> Lake:
    lake.arrive(reading(0, "a", level=1), reading(1, "b", level=2), reading(2, "c", region="us", level=5))
    lake.refine()
    return lake


def by(job: Job, lake: Lake, *, afresh: bool = False) -> list[Computed]:
    engine = SparkEngine(launch=job)
    return list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, engine=engine, afresh=afresh))


def row(readings: int, total: int) -> dict[str, int]:
    return {"readings": readings, "total": total}


def totals(lake: Lake) -> set[tuple[object, ...]]:
    return set(lake.gold.rows().select("event_date", "region", "readings", "total").collect().rows())


def test_the_files_of_a_job_are_committed_as_they_are_with_the_same_cursors(filled: Lake) -> None:
    (done,) = by(Job(rows={EU: [row(2, 3)], US: [row(1, 5)]}), filled)
    assert (done.rows, done.read) == ({Key(DAY, "eu"): 1, Key(DAY, "us"): 1}, 3)
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 1, 5)}
    assert filled.stale() == []
    cursors = dict(filled.gold.cursors())
    assert DeltaTable(filled.gold.uri).to_pyarrow_table().num_rows == 2
    assert sorted(filled.gold.files()["num_records"]) == [1, 1]

    assert by(Job(), filled) == [], "no job for what is up to date"
    filled.compute()
    assert dict(filled.gold.cursors()) == cursors, "the other engine has nothing to do"


def test_what_is_not_another_one_is_not_published(filled: Lake) -> None:
    filled.compute()
    before = set(filled.gold.files()["path"])
    (done,) = by(Job(rows={EU: [row(2, 3)], US: [row(1, 6)]}), filled, afresh=True)
    assert done.changed == (Key(DAY, "us"),)
    assert len(before & set(filled.gold.files()["path"])) == 1


def test_a_table_partition_without_rows_disappears(filled: Lake) -> None:
    filled.compute()
    by(Job(rows={EU: [row(2, 3)]}), filled, afresh=True)
    assert totals(filled) == {(DAY, "eu", 2, 3)}


def test_the_order_names_the_versions_files_and_no_others(filled: Lake) -> None:
    job = Job(rows={EU: [row(2, 3)], US: [row(1, 5)]})
    by(job, filled)
    filled.arrive(reading(3, "d", region="us", level=4))
    filled.refine()
    job.rows = {US: [row(2, 9)]}
    by(job, filled)
    (first, second) = (order["groups"][0]["views"]["silver__readings"] for order in job.orders)
    assert {tuple(file[1:]) for file in first} == {EU, US}
    assert {tuple(file[1:]) for file in second} == {US}, "the computed rectangle only"
    stored = {f"file://{filled.silver.uri}/{path}" for path in filled.silver.files()["path"]}
    assert {file[0] for file in second} <= stored


@pytest.mark.parametrize(
    ("job", "error", "told"),
    [
        (Job(refused="[DIVIDE_BY_ZERO] Division by zero."), ContractError, "DIVIDE_BY_ZERO"),
        (Job(ends=True), EngineError, "0 manifests"),
        (Job(rows={("2026-01-02", "eu"): [row(1, 1)]}), ContractError, "yields rows of 2026-01-02/eu"),
        (Job(rows={EU: [row(2, 3), row(2, 3)]}), ContractError, "a key twice"),
        (Job(rows={EU: [{"readings": None, "total": 1}]}), ContractError, "readings is null in 1 rows"),
    ],
)
def test_what_cannot_be_published_changes_nothing(filled: Lake, job: Job, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        by(job, filled)
    assert totals(filled) == set()
    assert len(filled.stale()) == 2


def test_what_breaks_a_rule_is_held_back_whichever_engine_computed_it(filled: Lake) -> None:
    most = Bound(operator="mustBeLessOrEqualTo", values=(1,))
    rule = TableRule(id="few", metric="sql", bound=most, query="SELECT max(readings) FROM staged")
    mart = replace(filled.mart, rules=(rule,))
    lake = replace(filled, catalog=replace(filled.catalog, marts=(mart,)))
    (done,) = by(Job(rows={EU: [row(2, 3)], US: [row(1, 5)]}), lake)
    assert set(done.held) == {Key(DAY, "eu")}
    assert totals(lake) == {(DAY, "us", 1, 5)}


class _Killed(BaseException):
    """As `kill -9` does, it lets nobody finish anything."""


@pytest.mark.parametrize("committed", [False, True], ids=["before its commit", "after its commit"])
def test_a_run_that_ends_when_its_job_is_done_is_followed_by_one_that_leaves_each_row_once(
    committed: bool, filled: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, commit = Job(rows={EU: [row(2, 3)], US: [row(1, 5)]}), Table.commit

    def ending(table: Table, *arguments: Any, **options: Any) -> int:
        if committed:
            commit(table, *arguments, **options)
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(Table, "commit", ending)
        with pytest.raises(_Killed):
            by(job, filled)
    assert totals(filled) == ({(DAY, "eu", 2, 3), (DAY, "us", 1, 5)} if committed else set())
    assert len(by(job, filled)) == (0 if committed else 1)
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 1, 5)}
    assert sorted(filled.gold.files()["num_records"]) == [1, 1]
    assert len(job.orders) == (1 if committed else 2)


def test_output_is_published_in_portions_of_bounded_size(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dagster_project.spark.engine._ROWS", 1)
    job = Job(rows={EU: [row(2, 3)], US: [row(1, 5)]})
    commits: Sequence[Computed] = by(job, filled)
    assert [len(commit.rows) for commit in commits] == [1, 1]
    assert len(job.orders) == 1, "of one job"
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 1, 5)}
