"""A table whose contract gains columns while others write it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.contract.model import Column, DataType
from dagster_project.errors import LakeError, StaleCursorError
from dagster_project.lake.query import query
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table, TableSpec
from tests.unit.lakes import Lake, reading, small_catalog

DAY = dt.date(2026, 1, 1)
NARROW, WIDE = pl.Struct({"x": pl.Int32()}), pl.Struct({"x": pl.Int32(), "y": pl.String()})
OLD = TableSpec(
    layer="silver",
    name="things",
    schema={"id": pl.String(), "at": NARROW, "parts": pl.List(NARROW), "event_date": pl.Date()},
    partition_by=("event_date",),
)
NEW = replace(OLD, schema={**OLD.schema, "at": WIDE, "parts": pl.List(WIDE), "more": pl.String()})
SMALL = {"id": "a", "at": {"x": 1}, "parts": [{"x": 1}], "event_date": DAY}
LARGE = {"id": "b", "at": {"x": 2, "y": "p"}, "parts": [{"x": 2, "y": "q"}], "more": "r", "event_date": DAY}
SMALL_AS_LARGE = {**SMALL, "at": {"x": 1, "y": None}, "parts": [{"x": 1, "y": None}], "more": None}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.at(str(tmp_path / "lake"))


def frame(spec: TableSpec, *rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(spec.schema))


def rows_of(table: Table) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in table.rows().collect().to_dicts()}


def test_columns_and_nested_fields_are_added(storage: Storage) -> None:
    Table.open(OLD, storage=storage).commit(frame(OLD, SMALL), cursors={})
    table = Table.open(NEW, storage=storage)
    table.commit(frame(NEW, LARGE), cursors={})
    assert rows_of(table) == {"a": SMALL_AS_LARGE, "b": LARGE}
    version = table.version
    assert Table.open(NEW, storage=storage).version == version
    assert Table.open(OLD, storage=storage).version == version


@pytest.mark.parametrize("many_writers", [False, True])
def test_a_writer_of_before_goes_on_and_its_rows_lack_the_column(storage: Storage, many_writers: bool) -> None:
    old, new = (replace(spec, many_writers=many_writers) for spec in (OLD, NEW))
    before = Table.open(old, storage=storage)
    Table.open(new, storage=storage)
    before.commit(frame(OLD, SMALL), cursors={"mine": 7}, marks=["named"])
    assert before.cursors() == {"mine": 7, "named": before.version}
    assert rows_of(Table.open(new, storage=storage)) == {"a": SMALL_AS_LARGE}


def test_what_another_contract_has_written_is_kept_where_rows_are_written_again(storage: Storage) -> None:
    Table.open(NEW, storage=storage).commit(frame(NEW, LARGE), cursors={})
    old = Table.open(OLD, storage=storage)
    old.commit(old.rows().collect(), remove=old.files(), cursors={})
    assert rows_of(old) == {"b": LARGE}


def test_a_column_that_came_hides_no_other_writer(storage: Storage) -> None:
    before, other = Table.open(OLD, storage=storage), Table.open(OLD, storage=storage)
    other.commit(frame(OLD, SMALL), cursors={"mine": 1})
    Table.open(NEW, storage=storage)
    with pytest.raises(StaleCursorError):
        before.commit(frame(OLD, SMALL), cursors={"mine": 1})
    assert len(rows_of(other)) == 1


def test_appends_of_others_and_a_column_at_once(storage: Storage) -> None:
    old, new = (replace(spec, many_writers=True) for spec in (OLD, NEW))
    before, late, other = (Table.open(old, storage=storage) for _ in range(3))
    other.commit(frame(OLD, SMALL), cursors={"others": 1})
    Table.open(new, storage=storage)
    before.commit(frame(OLD, {**SMALL, "id": "c"}), cursors={"mine": 1})
    assert rows_of(before).keys() == {"a", "c"}
    with pytest.raises(StaleCursorError):
        late.commit(frame(OLD, {**SMALL, "id": "d"}), cursors={"mine": 1})
    assert rows_of(Table.open(new, storage=storage)).keys() == {"a", "c"}


def test_contracts_that_differ_all_get_their_columns_at_once(storage: Storage) -> None:
    Table.open(OLD, storage=storage)
    names = [f"more_{number}" for number in range(6)]
    specs = [replace(NEW, schema={**NEW.schema, name: pl.String()}) for name in names]
    with ThreadPoolExecutor(len(specs)) as pool:
        list(pool.map(lambda spec: Table.open(spec, storage=storage), specs))
    found = Table.find(OLD, storage=storage)
    assert found is not None
    assert {*found.schema} == {*NEW.schema, *names}
    assert found.schema["at"] == WIDE


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("id", pl.Binary()), ("at", pl.Struct({"x": pl.Int64()})), ("parts", pl.List(pl.Struct({"x": pl.Int64()})))],
)
def test_another_type_is_refused_with_a_way_forward(storage: Storage, name: str, dtype: pl.DataType) -> None:
    version = Table.open(OLD, storage=storage).version
    with pytest.raises(LakeError, match=f"column {name} is ") as refused:
        Table.open(replace(OLD, schema={**NEW.schema, name: dtype}), storage=storage)
    assert "new major version" in refused.value.remedy
    found = Table.find(OLD, storage=storage)
    assert found is not None
    assert found.version == version


@pytest.mark.parametrize(
    ("condition", "ids"),
    [
        ("id = 'a'", ["a"]),
        ("level = 2", ["b"]),
        ("level <> 2", ["a", "c"]),
        ("level IS NULL", []),
        ("coupon IS NULL", ["a", "b"]),
        ("coupon = 'X'", ["c"]),
        ("_rescued IS NULL", ["a", "b", "c"]),
        ("event_date = DATE '2026-01-02'", ["b"]),
    ],
)
def test_views_have_the_columns_and_every_row_that_passes(tmp_path: Path, condition: str, ids: list[str]) -> None:
    before = Lake.at(tmp_path / "lake", catalog=small_catalog(tmp_path / "contracts"))
    before.arrive(reading(0, "a"), reading(1, "b", day=2, level=2))
    before.refine()
    coupon = Column(name="coupon", type=DataType(kind="string"))
    dataset = replace(before.dataset, columns=(*before.dataset.columns, coupon))
    lake = replace(before, dataset=dataset, catalog=replace(before.catalog, datasets=(dataset,)))

    def found() -> list[str]:
        sql = f"SELECT id FROM silver.readings WHERE {condition} ORDER BY id"
        return query(sql, catalog=lake.catalog, storage=lake.storage)["id"].to_list()

    assert found() == [identity for identity in ids if identity != "c"]
    message = reading(2, "c")
    assert message.payload is not None
    lake.arrive(replace(message, payload=message.payload[:-1] + b', "coupon": "X"}'))
    lake.refine()
    assert found() == ids
