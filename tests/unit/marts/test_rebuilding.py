"""What is made again is what was there, bit for bit; and what somebody has altered is as it was made first."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from dagster_project.accounting.marts import check_marts
from dagster_project.contract.model import Catalog
from dagster_project.lake.table import Table
from dagster_project.lifecycle.rebuild import Choice, Rebuilt, rebuild_dataset, rebuild_mart
from tests.unit.lakes import reading, tombstone
from tests.unit.marts.world import World, world_catalog

NOON = 720


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return world_catalog(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, project: Catalog) -> World:
    """Filled step by step, with a delete, rows that break a rule, and versions out of order."""
    world = World.at(tmp_path_factory.mktemp("lake"), catalog=project)
    for offset, (day, region) in enumerate([(1, "eu"), (2, "us"), (3, "eu")]):
        world.readings.arrive(
            reading(3 * offset, f"{region}{day}", at=NOON, day=day, region=region, level=day),
            reading(3 * offset + 1, f"bad{day}", at=NOON, day=day, region=region, level=-1),
            tombstone(3 * offset + 2, "eu1" if day > 1 else "none", at=NOON + day),
        )
        world.others.arrive(reading(offset, f"eu{day}@{offset}", at=NOON - offset, day=day, level=offset))
        world.refine()
        world.compute()
    return world


@pytest.fixture
def world(first: World, tmp_path: Path) -> World:
    return first.copied(tmp_path / "lake")


def everything(world: World) -> dict[str, pl.DataFrame]:
    """All rows of all tables, the platform's columns, too; of Silver in the order of the topic."""
    tables = {name: world.rows(name) for name in (mart.name for mart in world.catalog.marts)}
    place = ["_kafka_partition", "_kafka_offset"]
    silver = {lake.dataset.name: lake.silver.rows().sort(place).collect() for lake in (world.readings, world.others)}
    bronze = {
        f"bronze/{lake.dataset.name}": lake.bronze.rows().sort(place).collect()
        for lake in (world.readings, world.others)
    }
    return tables | silver | bronze


def rebuilt(world: World, name: str, origin: str, choice: Choice | None = None) -> dict[str, Rebuilt]:
    chosen = choice or Choice()
    options: dict[str, Any] = {"catalog": world.catalog, "storage": world.storage, "report": lambda _: None}
    if origin == "gold":
        steps = rebuild_mart(world.catalog.mart(name), chosen, **options)
    else:
        steps = rebuild_dataset(world.catalog.dataset(name), chosen, origin, **options)  # pyright: ignore[reportArgumentType]
    return {step.table: step for step in steps}


@pytest.mark.parametrize(
    ("name", "origin"), [("facts", "gold"), ("versions", "gold"), ("readings", "silver"), ("readings", "bronze")]
)
def test_what_was_computed_step_by_step_is_made_again_bit_for_bit(world: World, name: str, origin: str) -> None:
    before = everything(world)
    done = rebuilt(world, name, origin)
    assert {table: step.changed for table, step in done.items() if step.changed} == {}
    after = everything(world)
    assert [table for table in before if not before[table].equals(after[table])] == []
    if origin != "gold":
        assert {table for table in done if table.startswith("gold/")} == {
            f"gold/{mart.name}" for mart in world.catalog.marts_of("readings")
        }


def altered(table: Table, column: str, *, value: int) -> None:
    rows = table.rows().collect()
    table.commit(
        rows.with_columns(pl.when(pl.col(column).is_not_null()).then(pl.lit(value, rows.schema[column])).alias(column)),
        remove=table.files(),
        cursors={},
    )


def test_a_mart_that_was_altered_is_made_as_it_was_where_it_was_asked_for(world: World) -> None:
    before = world.rows("same")
    altered(world.gold("same"), "total", value=77)
    first = Choice(first=dt.date(2026, 1, 3), last=dt.date(2026, 1, 3))
    done = rebuilt(world, "same", "gold", first)
    assert list(map(str, done["gold/same"].changed)) == ["2026-01-03/eu"]
    assert world.rows("same")["total"].to_list() == [77, 3]
    rebuilt(world, "same", "gold", Choice(regions=("us",)))
    assert world.rows("same").equals(before)


def problems(world: World, name: str = "readings") -> list[str]:
    found = check_marts(
        world.catalog.dataset(name),
        catalog=world.catalog,
        storage=world.storage,
        deep=True,
        thorough=False,
        report=lambda _: None,
    )
    assert found.stale == 0
    return list(found.problems)


@pytest.mark.parametrize(
    ("name", "column", "rows"),
    [("facts", "size", 2), ("versions", "total", 3), ("dates", "readings", 2), ("trailing", "total", 6)],
)
def test_what_was_altered_is_found(world: World, name: str, column: str, rows: int) -> None:
    assert problems(world, "others") == []
    altered(world.gold(name), column, value=77)
    (found,) = [
        problem for problem in problems(world, "others" if name == "versions" else "readings") if name in problem
    ]
    assert found.startswith(f"gold/{name}: {rows} rows are not what its SQL makes of its inputs: ")
    assert f"({column})" in found


def test_rows_that_no_input_has_go_away(world: World) -> None:
    before = world.rows("same")
    strange = before[:1].with_columns(pl.lit(dt.date(2026, 2, 2)).alias("event_date"))
    world.gold("same").commit(strange, cursors={})
    assert "2026-02-02/us (not in its inputs)" in "".join(problems(world))
    done = rebuilt(world, "same", "gold")
    assert list(map(str, done["gold/same"].changed)) == ["2026-02-02/us"]
    assert world.rows("same").equals(before)


@pytest.mark.parametrize("origin", ["silver", "bronze"])
def test_silver_that_was_altered_is_made_from_bronze_with_what_was_computed_from_it(world: World, origin: str) -> None:
    before = everything(world)
    altered(world.readings.silver, "level", value=55)
    world.readings.silver.commit(
        pl.DataFrame(schema=dict(world.readings.silver.schema)),
        cursors={},
        marks=["changed/2026-01-02/us", "changed/2026-01-03/eu"],
    )
    world.compute()
    assert 55 in set(world.rows("same")["total"])
    if origin == "bronze":
        altered(world.readings.bronze, "level", value=55)
        table = world.readings.bronze
        assert set(table.rows().filter(_kind="event").collect()["level"]) == {55}
    done = rebuilt(world, "readings", origin)
    assert list(map(str, done["silver/readings"].changed)) == ["2026-01-02/us", "2026-01-03/eu"]
    after = everything(world)
    assert [table for table in before if not before[table].equals(after[table])] == []


def test_from_the_command_line(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dagster_project.cli.main import app

    source = world.catalog.mart("same").source.parent
    project = source.parent / "project"
    project.mkdir(exist_ok=True)
    if not (project / "contracts").exists():
        (project / "contracts").symlink_to(source)
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(project))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(project / "home"))
    monkeypatch.setenv("LAKEHOUSE_URI", world.storage.uri)
    altered(world.gold("same"), "total", value=77)

    def run(*arguments: str) -> tuple[int, str]:
        code = app(["rebuild", *arguments], standalone_mode=False)
        return code or 0, capsys.readouterr().out

    code, out = run("same", "--from", "gold", "--dates", "2026-01-02..2026-01-03", "--json")
    assert code == 0
    tables = {item["table"]: item for item in json.loads(out)}
    assert tables["gold/same"] == {"table": "gold/same", "made": 2, "changed": "2026-01-02 us; 2026-01-03 eu"}
    assert run("same", "--from", "gold")[1] == "gold/same: 3 table partitions, the same as before\n"
    assert run("same", "--from", "gold", "--dates", "soon")[0] == 1
    assert run("same", "--from", "gold", "--regions", "mars")[0] == 1
    assert run("nothing", "--from", "gold")[0] == 1
