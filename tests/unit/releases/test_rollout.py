"""A second major version beside the one that serves: filled from Bronze, taken over, taken back."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset, SqlRule
from dagster_project.contract.quality import Breaker
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.ingest.wire import decoder_of
from dagster_project.lake import specs
from dagster_project.lake.query import query
from dagster_project.lake.serving import serving, written
from dagster_project.lake.table import Table
from dagster_project.lifecycle.expiry import expire
from dagster_project.refine.comparison import compare_rows
from dagster_project.refine.release import release
from dagster_project.refine.rollout import retire, start, take_over
from dagster_project.refine.seal import seal
from dagster_project.refine.silver import refine
from dagster_project.refine.watermarks import watermarks
from tests.unit.lakes import (
    CONTRACT,
    EPOCH,
    MART,
    SQL,
    Lake,
    Message,
    reading,
    tombstone,
    write_project,
)
from tests.unit.lateness import event

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
    nothing = lake.silver.rows().collect().clear()
    with pytest.raises(StaleCursorError):
        under_way.commit(nothing, cursors={})
    seal(lake.silver, closed=False)
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
    with pytest.raises(LakeError, match="is not written"):
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


def test_retiring_needs_a_promotion_and_deletes_the_older_tables(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    with pytest.raises(LakeError, match="version 1 serves"):
        retire(lake.catalog, "readings", storage=lake.storage)
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    now, deleted = retire(lake.catalog, "readings", storage=lake.storage)
    assert (now.serves, now.written, deleted) == (2, (2,), ["quarantine/readings", "silver/readings"])
    assert retire(lake.catalog, "readings", storage=lake.storage) == (now, [])
    with pytest.raises(LakeError, match="is not written"):
        take_over(lake.catalog, "readings", back=True, storage=lake.storage)


def test_the_newer_contract_alone_goes_on_with_its_tables_and_the_old_name(lake: Lake, tmp_path: Path) -> None:
    lake.arrive(reading(0, "a", level=1), message(1, id="b", level=2.5))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    retire(lake.catalog, "readings", storage=lake.storage)
    files = {"readings.v2.odcs.yaml": NEXT, "levels.odcs.yaml": MART, "levels.sql": SQL}
    catalog = load_catalog(write_project(tmp_path / "alone", files))
    alone = Lake(catalog=catalog, storage=lake.storage, dataset=catalog.datasets[0], cursor=lake.cursor)
    ingested(alone, message(2, id="c", height=0.5), message(3, id="d", level=4), message(4, id="e", height="x"))
    alone.refine()
    alone.compute()
    sql = "SELECT id, height::VARCHAR, level::VARCHAR FROM silver.readings ORDER BY id"
    expected = [("a", "1.0", "1.0"), ("b", "2.5", "2.5"), ("c", "0.5", "0.5"), ("d", "4.0", "4.0")]
    assert rows(alone, sql) == expected
    assert rows(alone, "SELECT readings, total FROM gold.levels") == [(4, 8)]
    # Built again from its first message on, it is the same.
    list(refine(alone.dataset, storage=alone.storage, keys=None, afresh=True))
    assert rows(alone, sql) == expected


def test_what_has_expired_in_bronze_is_taken_from_the_older_version(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1), message(1, id="b", level=-1), message(2, id="x", level="?"))
    lake.refine()
    assert [done.rows for done in expire(lake.dataset, storage=lake.storage, now=EPOCH + dt.timedelta(days=90))] == [2]
    lake.arrive(reading(3, "c", level=3))
    start(lake.catalog, "readings", storage=lake.storage)
    refine_all(lake)
    assert rows(lake, "SELECT id, height::INTEGER FROM silver.readings_v2 ORDER BY id") == [("a", 1), ("c", 3)]
    assert rows(lake, "SELECT _kafka_offset FROM quarantine.readings_v2 ORDER BY 1") == [(1,), (2,)]
    assert account_of(lake, lake.catalog.successors[0]).problems == ()


def test_bronze_keeps_what_the_newer_version_has_not_read(lake: Lake) -> None:
    lake.arrive(reading(0, "a", level=1))
    start(lake.catalog, "readings", storage=lake.storage)
    lake.refine()
    readers = written(lake.catalog, "readings", storage=lake.storage)
    late = EPOCH + dt.timedelta(days=90)
    assert list(expire(lake.dataset, storage=lake.storage, now=late, readers=readers)) == []
    refine_all(lake)
    assert [done.rows for done in expire(lake.dataset, storage=lake.storage, now=late, readers=readers)] == [1]


def test_each_version_accounts_for_every_offset(lake: Lake) -> None:
    older, newer = lake.catalog.versions("readings")
    start(lake.catalog, "readings", storage=lake.storage)
    # Superseded ones among them: of events that only the newer version can read, too.
    lake.arrive(message(0, id="a", level=2.5), message(1, id="b", level=12_345_678_901), message(2, id="c", level=[]))
    refine_all(lake)
    lake.arrive(reading(3, "a", level=1, at=5), reading(4, "b", level=-1, at=5), tombstone(5, "z", at=9))
    refine_all(lake)
    lake.compute()
    old, new = account_of(lake, older), account_of(lake, newer)
    assert (old.problems, new.problems, old.unaccounted, new.unaccounted) == ((), (), 0, 0)
    assert (old.silver_rows, old.superseded, old.quarantined, old.tombstones) == (2, 0, 3, 1)
    assert (new.silver_rows, new.superseded, new.quarantined, new.tombstones) == (2, 1, 2, 1)
    silver = Table.open(specs.silver(newer), storage=lake.storage)
    silver.commit(silver.rows().collect().clear(), cursors={}, remove=silver.files())
    assert account_of(lake, newer).unaccounted == 4


def test_rows_that_only_the_newer_version_reads_wait_in_quarantine_while_their_region_is_held(lake: Lake) -> None:
    newer = replace(lake.catalog.successors[0], breaker=Breaker(bad_rate=0.1, min_rows=2))
    lake.catalog = replace(lake.catalog, successors=(newer,))
    start(lake.catalog, "readings", storage=lake.storage)
    lake.arrive(message(0, id="a", level=2.5), message(1, id="b", region="mars"), message(2, id="c", region="mars"))
    lake.arrive(*(message(offset, id=f"k{offset}", level=1, note="x") for offset in range(3, 6)))
    broken = replace(newer, rules=(SqlRule(id="never", predicate="height > 2"),))
    lake.catalog = replace(lake.catalog, successors=(broken,))
    refine_all(lake)
    assert rows(lake, "SELECT * FROM silver.readings_v2") == []
    assert rows(lake, "SELECT reasons[1][:9] FROM quarantine.readings_v2 WHERE _kafka_offset = 0") == [("gate.held",)]
    found = account_of(lake, broken)
    assert (found.problems, found.held, found.quarantined) == ((), 3, 3)
    lake.catalog = replace(lake.catalog, successors=(newer,))
    refine_all(lake)
    release(newer, storage=lake.storage)
    found = account_of(lake, newer)
    assert (found.problems, found.held, found.silver_rows, found.quarantined) == ((), 0, 4, 2)


def test_both_versions_know_how_late_rows_are_and_up_to_when_they_are_there(lake: Lake) -> None:
    start(lake.catalog, "readings", storage=lake.storage)
    only_newer = replace(message(2, id="0/2", level=2.5), sent=event(2, 30).sent)
    lake.arrive(event(0, 60), event(1, 40), only_newer, event(3, 20, region="us"), event(4, 45, level=-1))
    refine_all(lake)
    sql = "SELECT _kafka_offset, _late_us // 60000000 FROM {} WHERE _kafka_offset <> 2 ORDER BY 1"
    assert rows(lake, sql.format("silver.readings_v1")) == [(0, None), (1, 20), (3, None)]
    # What only the newer version reads was no event when it was measured.
    assert rows(lake, sql.format("silver.readings_v2")) == [(0, None), (1, 20), (3, None), (4, 15)]
    assert rows(lake, "SELECT _late_us FROM silver.readings_v2 WHERE _kafka_offset = 2") == [(None,)]
    assert rows(lake, "SELECT _late_us // 60000000 FROM quarantine.readings WHERE stage = 'gate'") == [(15,)]
    found = [
        watermarks(one, Table.open(specs.silver(one), storage=lake.storage))
        for one in lake.catalog.versions("readings")
    ]
    assert found[0] == found[1]
    assert found[0]["eu"].at == EPOCH + dt.timedelta(minutes=50)


def test_the_comparison_counts_and_shows_what_differs_and_hides_what_is_confidential(lake: Lake) -> None:
    start(lake.catalog, "readings", storage=lake.storage)
    lake.arrive(message(0, id="a", level=1), message(1, id="b", level=2.5), message(2, id="c", level=12_345_678_901))
    lake.arrive(message(3, id="d", level=4, height=5))
    refine_all(lake)
    older, newer = lake.catalog.versions("readings")
    found = compare_rows(older, newer, storage=lake.storage, sample=10)
    assert (found.rows, found.only_old, found.only_new, found.differing) == ((3, 3), 1, 1, 1)
    assert (found.columns, found.added, found.removed) == ({"height": 1}, ("unit",), ())
    shown = {row["key"]["id"]: (row["in"], row["values"]) for row in found.sample}
    assert shown == {
        "b": ("new", {}),
        "c": ("old", {}),
        "d": ("both", {"height": {"old": 4, "new": Decimal("5.0")}}),
    }
    secret = replace(older, columns=tuple(replace(column, classification="restricted") for column in older.columns))
    hidden = compare_rows(secret, newer, storage=lake.storage, sample=10).sample
    assert hidden[-1] == {
        "key": {"id": "(hidden)"},
        "in": "both",
        "values": {"height": {"old": "(hidden)", "new": "(hidden)"}},
    }


def ingested(lake: Lake, *messages: Message) -> None:
    """One Bronze batch as an ingest with this contract writes it."""
    lake.arrive(*messages, decoder=decoder_of(lake.dataset, registry=""))


def account_of(lake: Lake, version: Dataset) -> Account:
    return account(version, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="", payloads=True)
