"""A second major version beside the one that serves: filled from Bronze, taken over, taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.query import query
from dagster_project.lake.serving import serving, written
from dagster_project.refine.rollout import start, take_over
from dagster_project.refine.seal import seal
from dagster_project.refine.silver import refine
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, Message, reading, tombstone, write_project

LEVEL = "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}"
# Renamed, of another type, and with a column more.
NEXT = CONTRACT.replace("version: 1.0.0", "version: 2.0.0").replace(
    LEVEL,
    """name: height
        logicalType: number
        physicalType: decimal(9, 1)
        customProperties: [{property: renamedFrom, value: level}]
      - {name: unit, logicalType: string}""",
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    files = {"readings.odcs.yaml": CONTRACT, "readings.v2.odcs.yaml": NEXT, "levels.odcs.yaml": MART, "levels.sql": SQL}
    return Lake.at(tmp_path / "lake", catalog=load_catalog(write_project(tmp_path / "contracts", files)))


def refine_all(lake: Lake) -> None:
    for version in written(lake.catalog, "readings", storage=lake.storage):
        list(refine(version, storage=lake.storage, keys=None))


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return query(sql, catalog=lake.catalog, storage=lake.storage).rows()


def message(offset: int, **values: object) -> Message:
    """An event with any fields, beside those of `reading`."""
    plain = reading(offset, str(values.get("id", "a")), level=None)
    assert plain.payload is not None
    document = {name: value for name, value in json.loads(plain.payload).items() if name != "level"}
    return Message(offset=offset, payload=json.dumps({**document, **values}).encode(), key=plain.key, sent=plain.sent)


def test_a_newer_version_is_written_only_once_it_was_started(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1))
    assert [version.version for version in written(lake.catalog, "readings", storage=lake.storage)] == ["1.0.0"]
    start(lake.catalog, "readings", storage=lake.storage)
    assert [version.version for version in written(lake.catalog, "readings", storage=lake.storage)] == [
        "1.0.0",
        "2.0.0",
    ]
    assert serving(lake.catalog, "readings", storage=lake.storage).version == "1.0.0"
    assert start(lake.catalog, "readings", storage=lake.storage).number == 1


def test_it_is_filled_from_the_payloads_of_bronze_under_either_name(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1), message(1, id="b", level=5), message(2, id="c", height=2.5, unit="cm"))
    lake.arrive(message(3, id="d", height=7, level=9), reading(4, "e"), tombstone(5, "e", at=1))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    found = rows(lake, "SELECT id, height::VARCHAR, unit FROM silver.readings_v2 ORDER BY id")
    assert found == [("a", "1.0", None), ("b", "5.0", None), ("c", "2.5", "cm"), ("d", "7.0", None)]


def test_the_view_has_the_columns_of_both_versions_whichever_serves(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1), message(1, id="b", level=5, unit="cm"))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    sql = "SELECT id, level::INTEGER, height::INTEGER, unit FROM silver.readings ORDER BY id"
    assert rows(lake, sql) == [("a", 1, 1, None), ("b", 5, 5, None)]
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    assert rows(lake, sql) == [("a", 1, 1, None), ("b", 5, 5, "cm")]
    take_over(lake.catalog, "readings", back=True, storage=lake.storage)
    assert rows(lake, sql) == [("a", 1, 1, None), ("b", 5, 5, None)]


def test_what_only_one_version_can_read_has_a_place_in_the_other(lake: Lake) -> None:
    # 2.5 is no integer, so poison in Bronze; 12345678901 does not fit the decimal of the newer version.
    lake.arrive(message(0, id="a", level=2.5), message(1, id="b", level=12_345_678_901), message(2, id="c", level=[]))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    assert rows(lake, "SELECT id FROM silver.readings_v1") == [("b",)]
    assert rows(lake, "SELECT id FROM silver.readings_v2") == [("a",)]
    reasons = rows(lake, "SELECT _kafka_offset, reasons[1] FROM quarantine.readings_v2 ORDER BY 1")
    assert [offset for offset, _ in reasons] == [1, 2]
    assert all("level" in reason for _, reason in reasons)


def test_promoting_catches_up_first_and_does_not_lose_what_the_other_version_has(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1))
    start(lake.catalog, "readings", storage=lake.storage)
    lake.refine()
    lake.arrive(reading(1, "b", level=2))
    lake.refine()
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    assert rows(lake, "SELECT id FROM silver.readings ORDER BY id") == [("a",), ("b",)]


def test_a_sealed_table_takes_no_rows_and_says_so_to_runs_under_way(lake: Lake) -> None:
    lake.arrive(reading(0, "a", day=1))
    lake.refine()
    lake.arrive(reading(1, "b", day=2))
    under_way = lake.silver
    seal(lake.silver, closed=True)
    lake.refine()
    assert set(lake.live()) == {"a"}
    with pytest.raises(StaleCursorError):
        seal(lake.silver, closed=False)
        under_way.commit(lake.silver.rows().collect().clear(), cursors={})
    lake.refine()
    assert set(lake.live()) == {"a", "b"}


def test_a_run_that_was_killed_with_the_table_sealed_is_finished_by_the_next(lake: Lake) -> None:
    lake.arrive(reading(0, "a"))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    seal(lake.silver, closed=True)  # killed here
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    lake.arrive(reading(1, "b"))
    refine_all(lake)
    assert set(lake.live()) == {"a", "b"}
    assert serving(lake.catalog, "readings", storage=lake.storage).version == "2.0.0"


def test_what_was_not_started_is_not_promoted(lake: Lake) -> None:
    lake.arrive(reading(0, "a"))
    with pytest.raises(LakeError, match="was not started"):
        take_over(lake.catalog, "readings", back=False, storage=lake.storage)


def test_marts_are_computed_anew_from_the_version_that_serves(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1, day=1), message(1, id="b", level=2.5))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    lake.compute()
    sql = "SELECT readings, total FROM gold.levels"
    assert rows(lake, sql) == [(1, 1)]
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    lake.compute()
    assert rows(lake, sql) == [(2, 3)]  # 1 + 2.5, which the mart keeps as an integer
    take_over(lake.catalog, "readings", back=True, storage=lake.storage)
    lake.compute()
    assert rows(lake, sql) == [(1, 1)]
    version = lake.gold.version
    lake.compute()
    assert lake.gold.version == version
