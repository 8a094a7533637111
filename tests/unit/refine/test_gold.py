"""Gold is what its SQL says of today's Silver, for exactly the table partitions that changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.contract.model import Catalog
from dagster_project.errors import ContractError, StaleCursorError
from dagster_project.lake.keys import Key
from dagster_project.lake.table import Table
from dagster_project.refine import gold
from dagster_project.refine.gold import compute
from tests.unit.lakes import Lake, reading, tombstone

DAY = dt.date(2026, 1, 1)
EU, US = Key(DAY, "eu"), Key(DAY, "us")


def totals(lake: Lake) -> set[tuple[object, ...]]:
    return set(lake.gold.rows().select("event_date", "region", "readings", "total").collect().rows())


def with_sql(lake: Lake, sql: str, **changes: object) -> Lake:
    mart = replace(lake.mart, sql=sql, **changes)  # pyright: ignore[reportArgumentType] fields of a mart
    return replace(lake, catalog=replace(lake.catalog, marts=(mart,)))


@pytest.fixture
def filled(lake: Lake) -> Lake:
    lake.arrive(reading(0, "a", level=1), reading(1, "b", level=2), reading(2, "c", region="us", level=5))
    lake.refine()
    return lake


def test_only_what_changed_is_computed(filled: Lake) -> None:
    filled.compute()
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 1, 5)}
    filled.arrive(reading(3, "d", region="us", level=4))
    filled.refine()
    (done,) = compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=None)
    assert (done.rows, done.read) == ({US: 1}, 2)
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 2, 9)}
    assert list(compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=None)) == []


def test_chosen_partitions_may_come_from_an_iterator(filled: Lake) -> None:
    (done,) = compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=iter([EU, US]))
    assert done.rows == {EU: 1, US: 1}
    done_again = compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=[US], afresh=True)
    assert [commit.rows for commit in done_again] == [{US: 1}]


def test_a_partition_that_became_empty_disappears(filled: Lake) -> None:
    filled.compute()
    filled.arrive(tombstone(3, "c", at=9))
    filled.refine()
    (done,) = compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=None)
    assert done.rows == {US: 0}
    assert totals(filled) == {(DAY, "eu", 2, 3)}
    assert filled.stale() == []


def test_a_mart_of_dates_reads_all_regions(filled: Lake) -> None:
    columns = tuple(column for column in filled.mart.columns if column.name != "region")
    sql = "SELECT event_date, count(*) AS readings, sum(level) AS total FROM silver.readings GROUP BY ALL"
    lake = with_sql(filled, sql, columns=columns, merge_key=("event_date",), partitioned_by=("event_date",))
    assert lake.stale() == [Key(DAY, None)]
    lake.compute()
    assert lake.gold.rows().select("event_date", "readings", "total").collect().rows() == [(DAY, 3, 8)]
    assert lake.stale() == []


def test_a_large_backlog_is_done_in_portions(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gold, "_ROWS", 1)
    done = list(compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=None))
    assert [commit.rows for commit in done] == [{EU: 1}, {US: 1}]
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 1, 5)}


def test_a_run_that_was_overtaken_between_portions_ends(filled: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.compute()
    monkeypatch.setattr(gold, "_ROWS", 1)
    real = Table.refresh

    def overtaken(table: Table) -> None:
        monkeypatch.setattr(Table, "refresh", real)
        filled.arrive(reading(9, "z", region="us", level=4))
        filled.refine()
        filled.compute()
        real(table)

    monkeypatch.setattr(Table, "refresh", overtaken)  # after its first commit, and before it looks at the table again
    with pytest.raises(StaleCursorError, match="another run has worked on 1 table partitions"):
        list(compute(filled.mart, catalog=filled.catalog, storage=filled.storage, keys=None, afresh=True))
    assert totals(filled) == {(DAY, "eu", 2, 3), (DAY, "us", 2, 9)}


GROUPED = "FROM silver.readings GROUP BY event_date, region"
BROKEN = {
    "no such table": ("SELECT * FROM silver.orders", "SQL that runs in DuckDB over silver.readings"),
    "syntax": (f"SELEC event_date {GROUPED}", "SQL that runs in DuckDB"),
    "reads files": ("SELECT * FROM '/etc/passwd'", "SQL that runs in DuckDB"),
    "column missing": (f"SELECT event_date, region, count(*) AS readings {GROUPED}", "the contract's columns: event_date, region, readings, total"),
    "column too many": (f"SELECT event_date, region, 1 AS readings, 1 AS total, 2 AS more {GROUPED}", "the contract's columns"),
    "type": (f"SELECT event_date, region, 'many' AS readings, 1 AS total {GROUPED}", "event_date date, region string, readings bigint, total bigint"),
    "null": (f"SELECT event_date, region, NULL AS readings, 1 AS total {GROUPED}", "a value, as required"),
    "key twice": ("SELECT event_date, region, 1 AS readings, level AS total FROM silver.readings", "one row for each event_date, region"),
    "another partition": (f"SELECT event_date + 1 AS event_date, region, 1 AS readings, 1 AS total {GROUPED}", "rows of the inputs' own table partitions"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_sql_that_breaks_its_contract_publishes_nothing(filled: Lake, case: str) -> None:
    sql, expected = BROKEN[case]
    filled.compute()
    before = totals(filled)
    lake = with_sql(filled, sql)
    with pytest.raises(ContractError, match="mart levels: the SQL") as refused:
        list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, afresh=True))
    assert expected in refused.value.expected
    assert "mend the SQL beside" in refused.value.remedy
    assert totals(filled) == before


def test_without_silver_there_is_nothing_to_compute(catalog: Catalog, tmp_path: Path) -> None:
    lake = Lake.at(tmp_path, catalog=catalog)
    assert list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None)) == []
