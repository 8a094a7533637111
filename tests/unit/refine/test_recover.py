"""A column that a contract gains later has the values that were sent before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.contract.model import Column, Constraints, DataType
from dagster_project.lake import specs
from dagster_project.refine.reach import changes
from dagster_project.refine.recover import backfill, outdated
from tests.unit.lakes import Lake, Message, reading, small_catalog, tombstone

COUPON = Column(name="coupon", type=DataType(kind="string"), constraints=Constraints(max_length=5))
SECTOR = Column(name="sector", type=DataType(kind="integer"))


def with_(message: Message, **fields: Any) -> Message:
    """The message with more fields."""
    assert message.payload is not None
    return replace(message, payload=json.dumps({**json.loads(message.payload), **fields}).encode())


def gaining(lake: Lake, *columns: Column) -> Lake:
    """The same lake under a contract with more columns."""
    dataset = replace(lake.dataset, columns=(*lake.dataset.columns, *columns))
    return replace(lake, dataset=dataset, catalog=replace(lake.catalog, datasets=(dataset,)))


def found(lake: Lake, *names: str) -> dict[str, tuple[Any, ...]]:
    rows = lake.silver.rows().filter(~pl.col("_deleted")).select("id", *names).collect()
    return {row[0]: row[1:] for row in rows.iter_rows()}


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    lake = Lake.at(tmp_path / "lake", catalog=small_catalog(tmp_path / "contracts"))
    lake.arrive(
        with_(reading(0, "a"), coupon="X1"),
        with_(reading(1, "b", region="us"), coupon="X2", sector=7),
        reading(2, "c"),
        with_(reading(3, "d", day=2), coupon=5),
        with_(reading(4, "e", day=2), coupon="much too long"),
        tombstone(5, "c"),
    )
    lake.refine()
    lake.compute()
    return lake


def test_silver_is_filled_from_what_was_rescued(lake: Lake) -> None:
    assert found(lake, specs.RESCUED)["b"] == ('{"coupon": "X2","sector": 7}',)
    richer = gaining(lake, COUPON)
    assert outdated(richer.dataset, richer.silver)
    filled = backfill(richer.dataset, storage=lake.storage)
    assert sum(filled.values()) == 2
    assert found(richer, "coupon", specs.RESCUED) == {
        "a": ("X1", None),
        "b": ("X2", '{"sector": 7}'),
        "d": (None, '{"coupon": 5}'),  # does not fit the column
        "e": (None, '{"coupon": "much too long"}'),  # would break a rule
    }
    again = gaining(richer, SECTOR)
    assert sum(backfill(again.dataset, storage=lake.storage).values()) == 1
    assert found(again, "coupon", "sector", specs.RESCUED)["b"] == ("X2", 7, None)


def test_only_marts_of_partitions_with_a_value_are_older_than_their_input(lake: Lake) -> None:
    before = changes(lake.silver.cursors())
    assert not lake.stale()
    filled = backfill(gaining(lake, COUPON).dataset, storage=lake.storage)
    assert set(lake.stale()) == set(filled)
    assert {key for key, version in changes(lake.silver.cursors()).items() if version > before[key]} == set(filled)


def test_it_is_done_once_and_only_where_the_columns_changed(lake: Lake) -> None:
    version = lake.silver.version
    assert not outdated(lake.dataset, lake.silver)
    assert backfill(lake.dataset, storage=lake.storage) == {}
    assert lake.silver.version == version
    richer = gaining(lake, COUPON)
    assert backfill(richer.dataset, storage=lake.storage)
    version = richer.silver.version
    assert not outdated(richer.dataset, richer.silver)
    assert backfill(richer.dataset, storage=lake.storage) == {}
    assert richer.silver.version == version
    # A run that still had the older contract has written since.
    lake.arrive(with_(reading(9, "f"), coupon="X9"))
    lake.refine()
    assert outdated(richer.dataset, richer.silver)
    assert sum(backfill(richer.dataset, storage=lake.storage).values()) == 1
    assert found(richer, "coupon")["f"] == ("X9",)


def test_bronze_rows_from_before_the_change_are_read_with_the_new_columns(lake: Lake) -> None:
    lake.arrive(with_(reading(9, "g"), coupon="X9", sector=3), with_(reading(10, "h"), coupon="also too long"))
    richer = gaining(lake, COUPON)
    richer.refine()
    assert found(richer, "coupon", specs.RESCUED)["g"] == ("X9", '{"sector": 3}')
    assert "h" not in found(richer)  # judged as any other row
    assert richer.quarantine.rows().collect()["_kafka_offset"].to_list() == [10]


def test_refining_all_of_bronze_again_gives_the_same_rows(lake: Lake) -> None:
    richer = gaining(lake, COUPON, SECTOR)
    backfill(richer.dataset, storage=lake.storage)
    filled = found(richer, "coupon", "sector", "level", specs.RESCUED, "_kafka_offset")
    fresh = Lake.at(Path(lake.storage.uri).parent / "fresh", catalog=richer.catalog)
    fresh.arrive(
        with_(reading(0, "a"), coupon="X1"),
        with_(reading(1, "b", region="us"), coupon="X2", sector=7),
        reading(2, "c"),
        tombstone(5, "c"),
    )
    fresh.refine()
    wanted = found(fresh, "coupon", "sector", "level", specs.RESCUED, "_kafka_offset")
    assert {name: filled[name] for name in wanted} == wanted


PLACE = Column(
    name="place",
    type=DataType(kind="struct", fields=(Column(name="city", type=DataType(kind="string")),)),
)
WITH_ZIP = replace(
    PLACE, type=replace(PLACE.type, fields=(*PLACE.type.fields, Column(name="zip", type=DataType(kind="integer"))))
)


def test_a_nested_field_is_filled_in_beside_one_that_stays_unknown(lake: Lake) -> None:
    known = gaining(lake, PLACE)
    place = {"city": "Łódź", "zip": 7, "floor": 2}
    known.arrive(with_(reading(9, "p"), place=place), with_(reading(10, "q"), place={"city": "Gdańsk"}))
    known.refine()
    backfill(known.dataset, storage=lake.storage)
    richer = gaining(lake, WITH_ZIP)
    assert sum(backfill(richer.dataset, storage=lake.storage).values()) == 1
    filled = found(richer, "place", specs.RESCUED)
    assert filled["p"][0] == {"city": "Łódź", "zip": 7}
    assert json.loads(filled["p"][1]) == {"place": place}
    assert filled["q"] == ({"city": "Gdańsk", "zip": None}, None)
    # And a run that knows less takes nothing of it away, though it reads the same text anew.
    backfill(known.dataset, storage=lake.storage)
    assert found(richer, "place", specs.RESCUED) == filled


def test_a_run_with_the_older_contract_takes_along_what_a_newer_one_has_read(lake: Lake) -> None:
    richer = gaining(lake, COUPON, WITH_ZIP)
    richer.arrive(
        with_(reading(9, "f"), coupon="X9", place={"city": "a", "zip": 1, "floor": 2}), with_(reading(10, "a", at=9))
    )
    older = replace(gaining(lake, PLACE), cursor=richer.cursor)
    older.refine()
    assert found(richer, "coupon", "place")["f"] == ("X9", {"city": "a", "zip": 1})
    older.arrive(with_(reading(11, "g", at=1), coupon="X0"), reading(12, "f", at=-1))
    older.refine()
    assert found(richer, "coupon")["f"] == ("X9",)
    assert found(richer, "coupon", specs.RESCUED)["g"] == (None, '{"coupon": "X0"}')
    backfill(richer.dataset, storage=lake.storage)
    assert found(richer, "coupon", specs.RESCUED)["g"] == ("X0", None)


def test_what_an_older_run_left_is_seen_though_a_newer_one_has_written_since(lake: Lake) -> None:
    richer = gaining(lake, COUPON)
    backfill(richer.dataset, storage=lake.storage)
    lake.arrive(with_(reading(9, "f"), coupon="X9"))
    lake.refine()
    richer.cursor = lake.cursor
    richer.arrive(with_(reading(10, "g"), coupon="X8"))
    richer.refine()
    assert outdated(richer.dataset, richer.silver)
    backfill(richer.dataset, storage=lake.storage)
    assert (found(richer, "coupon")["f"], found(richer, "coupon")["g"]) == (("X9",), ("X8",))
    assert not outdated(richer.dataset, richer.silver)
    richer.arrive(with_(reading(11, "h"), coupon="X7"))
    richer.refine()
    assert not outdated(richer.dataset, richer.silver)
