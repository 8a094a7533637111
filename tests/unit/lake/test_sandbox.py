"""SQL from contracts and commands reaches no file, no network, no extension and no variable, and ends in time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pytest

from dagster_project.errors import LakeError
from dagster_project.lake.sandbox import bounded, only, sandbox, visited
from dagster_project.outbox.letters import where

SECRET = "the secret of another file"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_csv('{file}')",
        "FROM '{file}'",
        "FROM glob('{folder}/*')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "ATTACH '{folder}/other.duckdb'",
        "EXPORT DATABASE '{folder}/copy'",
        "FROM read_parquet('http://127.0.0.1:9/a.parquet')",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT getenv('PATH')",
        "FROM unseen",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET memory_limit = '900GB'",
        "RESET memory_limit",
        "SET TimeZone = 'Asia/Tokyo'",
        "CREATE SECRET s (TYPE s3)",
    ],
)
def test_nothing_beyond_its_tables(sql: str, file: Path) -> None:
    unseen = pl.DataFrame({"secret": [SECRET]})
    with sandbox() as connection, pytest.raises(duckdb.Error) as raised:
        connection.sql(sql.format(file=file, folder=file.parent)).fetchall()
    assert SECRET not in str(raised.value)
    assert [path.name for path in file.parent.iterdir()] == [file.name], unseen


def test_what_runs_too_long_is_ended() -> None:
    with sandbox() as connection, pytest.raises(duckdb.InterruptException), bounded(connection, seconds=0.2):
        connection.sql("SELECT count(*) FROM range(10000000000) a, range(1000) b").fetchall()


def test_what_ends_in_time_is_left_alone() -> None:
    with sandbox() as connection:
        with bounded(connection, seconds=30):
            connection.sql("SELECT 1").fetchall()
        assert connection.sql("SELECT 2").fetchall() == [(2,)]


def test_memory_and_disk_are_bounded() -> None:
    """And what the bounds say, they keep: DuckDB's own are most of the memory and most of the disk."""
    setting = "SELECT current_setting('{}')"
    with sandbox() as own, duckdb.connect() as usual:
        memory, most = (
            float(one.sql(setting.format("memory_limit")).fetchall()[0][0].removesuffix(" GiB")) for one in (own, usual)
        )
        assert 0 < memory < 0.6 * most
        assert own.sql(setting.format("max_temp_directory_size")).fetchall() == [("14.9 GiB",)]


def test_a_predicate_of_a_command_reaches_no_file(file: Path) -> None:
    letters = pl.DataFrame({"_error": ["x"], "_headers": [None]})
    with pytest.raises(LakeError, match="does not run") as raised:
        where(letters, f"_error IN (SELECT content FROM read_text('{file}'))")
    assert SECRET not in str(raised.value)


def test_visitors_leave_nothing_behind() -> None:
    with visited() as connection:
        connection.sql("CREATE TABLE left_behind AS SELECT 1 AS a")
        connection.register("staged", pl.DataFrame({"a": [1]}).to_arrow())
        assert connection.sql("SELECT a FROM left_behind JOIN staged USING (a)").fetchall() == [(1,)]
    for name in ("left_behind", "staged"):
        with visited() as connection, pytest.raises(duckdb.CatalogException):
            connection.sql(f"SELECT * FROM {name}")


def test_a_visitor_sees_nothing_beyond_its_tables_either(file: Path) -> None:
    with visited() as connection, pytest.raises(duckdb.Error) as raised:
        connection.sql(f"SELECT * FROM read_text('{file}')").fetchall()
    assert SECRET not in str(raised.value)
    with visited() as connection, pytest.raises(duckdb.Error, match="locked"):
        connection.execute("SET memory_limit = '900GB'")


def test_all_go_by_utc_wherever_the_machine_is() -> None:
    program = """
from dagster_project.lake.sandbox import sandbox, visited
sql = "SELECT CAST(TIMESTAMPTZ '2026-01-01 23:00:00+00' AS DATE)::VARCHAR"
with sandbox() as first, first.cursor() as second, visited() as third:
    print([connection.sql(sql).fetchall() for connection in (first, second, third)])
"""
    said = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str([[("2026-01-01",)]] * 3)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "FROM range(3)",
        "WITH a AS (SELECT 1) FROM a",
        "-- why\nSELECT 1 -- so",
        "PIVOT t ON a USING sum(b)",
        "EXPLAIN SELECT 1",
    ],
)
def test_a_question_may_be_asked(sql: str) -> None:
    with sandbox() as connection:
        assert only(connection, sql) == sql


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1; COMMIT",
        "COMMIT; CREATE MACRO sum(x) AS 1; SELECT 1",
        "CREATE MACRO f(x) AS 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "ATTACH ':memory:' AS other",
        "SET VARIABLE a = 1",
        "INSERT INTO t VALUES (1) RETURNING 1",
        "CALL pragma_version()",
        "",
        "-- nothing",
    ],
)
def test_nothing_but_a_question_is_run(sql: str) -> None:
    """It would be there for whoever asks next: a process has one sandbox for all."""
    with sandbox() as connection, pytest.raises(duckdb.ParserException, match="expected one SELECT"):
        only(connection, sql)


@pytest.mark.parametrize(
    "predicate", ["true) IS NOT TRUE AS broken FROM letters; COMMIT; SELECT (1", "true); COMMIT; --"]
)
def test_a_predicate_does_not_lead_out_of_its_brackets(predicate: str) -> None:
    letters = pl.DataFrame({"_error": ["x"], "_headers": [None]})
    with pytest.raises(LakeError, match="does not run"):
        where(letters, predicate)


def test_nothing_of_a_visit_goes_on_after_it() -> None:
    before = set(threading.enumerate())
    with visited() as connection:
        connection.sql("SELECT 1").fetchall()
        assert set(threading.enumerate()) > before
    assert set(threading.enumerate()) <= before
