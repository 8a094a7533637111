"""What runs take is counted where they ask for it, and written down once a run, also of one that fails half-way."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml

from dagster_project.assets import catch_up, gold, silver
from dagster_project.cost.prices import BOOK, load_prices
from dagster_project.cost.recorder import Recorder
from dagster_project.definitions import build
from dagster_project.lake import meter, specs
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.silver import Refined
from dagster_project.settings import Settings
from tests.unit.lakes import Lake, reading

ROWS = 3
WAIT_S = 0.1


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that follow a stream need not wait for more of it."""
    monkeypatch.setattr(catch_up, "IDLE_SECONDS", WAIT_S)
    monkeypatch.setattr(catch_up, "_LOOK_S", WAIT_S / 2)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def execute(lake: Lake, job: str, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    settings = Settings(home=Path(lake.storage.uri), project=Path(), lake_uri=lake.storage.uri, bootstrap_servers="")
    found = build(lake.catalog, settings).resolve_job_def(job)
    return found.execute_in_process(instance=instance, raise_on_error=False)


def recorded(storage: Storage) -> dict[str, dict[str, Any]]:
    """Rows of the newest run, by asset."""
    table = Table.find(specs.costs(), storage=storage)
    assert table is not None
    rows = table.rows().collect()
    newest = rows.sort("at")["run_id"][-1]
    found = rows.filter(pl.col("run_id") == newest).to_dicts()
    assert len({row["asset"] for row in found}) == len(found)
    return {row["asset"]: row for row in found}


def commits(storage: Storage) -> int:
    table = Table.find(specs.costs(), storage=storage)
    return 0 if table is None else table.version


def stored(lake: Lake, *tables: str) -> dict[str, int]:
    """Data files and commits below tables as the disk has them, with their bytes."""
    root = Path(lake.storage.uri)
    found = (path for table in tables for path in (root / table).rglob("*") if path.is_file())
    # The first commit and checkpoints are written by delta-rs.
    return {
        str(path): path.stat().st_size
        for path in found
        if path.suffix in {".parquet", ".json"}
        and ".checkpoint." not in path.name
        and not path.name.startswith("0" * 20)
    }


def test_a_run_writes_what_each_of_its_assets_took_in_one_commit(lake: Lake, instance: dg.DagsterInstance) -> None:
    lake.arrive(*(reading(offset, f"k{offset}", day=1 + offset) for offset in range(ROWS)))
    bronze = int(lake.bronze.files()["size_bytes"].sum())
    done = execute(lake, "catch_up_readings", instance)
    assert done.success
    found = recorded(lake.storage)
    assert list(found) == ["silver/readings", "gold/levels", "serving/levels", "run/catch_up_readings"]
    assert commits(lake.storage) == 1
    mine = found["silver/readings"]
    assert (mine["datasets"], mine["events"], mine["failed"], mine["run_id"]) == (
        ["readings"],
        ROWS,
        False,
        done.run_id,
    )
    # What it wrote is on the disk, to the byte.
    written = stored(lake, "silver/readings", "quarantine/readings")
    assert (mine["objects_out"], mine["bytes_out"]) == (len(written), sum(written.values()))
    assert mine["requests_put"] >= len(written)
    assert mine["bytes_in"] >= bronze
    assert mine["requests_get"] >= ROWS
    written = stored(lake, "gold/levels")
    assert (found["gold/levels"]["objects_out"], found["gold/levels"]["bytes_out"]) == (
        len(written),
        sum(written.values()),
    )
    assert all(row["wall_seconds"] > 0 and row["cpu_seconds"] > 0 for row in found.values())
    # What a run took beside its assets: it waited for more, which takes no CPU.
    rest = found["run/catch_up_readings"]
    assert rest["wall_seconds"] > WAIT_S
    assert (rest["events"], rest["objects_out"]) == (0, 0)


def test_a_run_that_fails_half_way_has_spent_what_it_spent(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive(reading(0))

    def refused(*_: object, **__: object) -> Iterator[object]:
        yield from ()
        raise RuntimeError("the machine broke")

    monkeypatch.setattr(gold, "compute", refused)
    done = execute(lake, "catch_up_readings", instance)
    assert not done.success
    found = recorded(lake.storage)
    assert (found["silver/readings"]["failed"], found["gold/levels"]["failed"]) == (False, True)
    assert found["silver/readings"]["bytes_out"] > 0
    assert found["gold/levels"]["cpu_seconds"] > 0
    monkeypatch.undo()
    assert execute(lake, "catch_up_readings", instance).success
    again = recorded(lake.storage)
    assert (again["silver/readings"]["events"], again["silver/readings"]["failed"]) == (0, False)
    assert again["gold/levels"]["failed"] is False
    assert commits(lake.storage) == 2


def test_what_was_committed_before_a_failure_is_in_it(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive(reading(0))
    whole = silver.refine

    def half(*arguments: Any, **named: Any) -> Iterator[Refined]:
        yield from whole(*arguments, **named)
        raise RuntimeError("the machine broke")

    monkeypatch.setattr(silver, "refine", half)
    assert not execute(lake, "catch_up_readings", instance).success
    found = recorded(lake.storage)["silver/readings"]
    assert found["failed"]
    assert found["bytes_out"] > sum(path.stat().st_size for path in Path(lake.silver.uri).rglob("*.parquet")) > 0


def test_the_ui_shows_what_a_materialization_took(lake: Lake, instance: dg.DagsterInstance) -> None:
    lake.arrive(*(reading(offset, f"k{offset}") for offset in range(ROWS)))
    done = execute(lake, "catch_up_readings", instance)
    book = yaml.safe_load(BOOK.read_text("utf-8"))
    for asset in ("silver/readings", "gold/levels"):
        (event,) = (
            event.step_materialization_data.materialization
            for event in done.all_events
            if event.is_step_materialization and event.asset_key == dg.AssetKey(asset.split("/"))
        )
        shown = {name.removeprefix("cost/"): value.value for name, value in event.metadata.items() if "cost/" in name}
        row = recorded(lake.storage)[asset]
        # The asset was told of after its work, of which the run then did no more.
        assert {name: shown[name] for name in ("bytes_in", "bytes_out", "requests_put", "requests_get")} == {
            name: row[name] for name in ("bytes_in", "bytes_out", "requests_put", "requests_get")
        }
        usd = (
            row["cpu_seconds"] / 3600 * book["vm"]["vcpu_hour"]
            + (row["bytes_out"] - row["bytes_removed"]) / 2**30 * book["store"]["gb_month"] * book["store"]["months"]
            + row["requests_put"] / 1000 * book["store"]["thousand_puts"]
            + row["requests_get"] / 1000 * book["store"]["thousand_gets"]
        )
        assert shown["usd"] == pytest.approx(usd)
        # A mart's too is for what was new, not for the rows that it reads.
        assert shown["usd_per_million_events"] == pytest.approx(usd / ROWS * 1e6)


def test_maintenance_is_recorded_too(lake: Lake, instance: dg.DagsterInstance) -> None:
    for number in range(4):
        lake.arrive(reading(number, f"k{number}"))
        lake.refine()
    done = execute(lake, "maintain_readings", instance)
    assert done.success
    found = recorded(lake.storage)
    assert found.keys() == {
        *("upkeep/silver_readings", "upkeep/quarantine_readings", "upkeep/gold_levels", "run/maintain_readings")
    }
    merged = found["upkeep/silver_readings"]
    assert merged["bytes_removed"] > 0
    assert merged["datasets"] == found["upkeep/gold_levels"]["datasets"] == ["readings"]
    (event,) = done.asset_materializations_for_node("upkeep__silver_readings")
    assert event.metadata["cost/bytes_removed"].value == merged["bytes_removed"]


def test_a_store_that_is_gone_at_the_end_costs_the_costs_and_not_the_run(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(reading(0))
    folder = Path(lake.storage.uri) / "ops"
    folder.write_text("a file where the tables of this layer should be")
    done = execute(lake, "catch_up_readings", instance)
    assert done.success
    assert any(
        "Teardown of resources" in (event.message or "") and "costs" in (event.message or "")
        for event in done.all_events
    )
    assert lake.gold.rows().collect()["readings"].to_list() == [1]


def test_assets_that_take_turns_are_told_apart(tmp_path: Path) -> None:
    recorder = Recorder("run/x", prices=load_prices())
    with recorder.of("silver/a", "a"):
        meter.wrote(10)
    meter.wrote(100)
    with recorder.of("gold/b", "a", "b"):
        meter.removed(3)
        with recorder.of("serving/b", "a", "b"):  # a part of it, and an asset by itself
            meter.wrote(1000)
        meter.wrote(10_000)
    with recorder.of("silver/a", "a") as spent:
        meter.wrote(1)
        spent.events += 5
    storage = Storage.at(str(tmp_path))
    recorder.close(run_id="r", storage=storage)
    found = recorded(storage)
    assert {name: row["bytes_out"] for name, row in found.items()} == {
        "silver/a": 11,
        "gold/b": 10_000,
        "serving/b": 1000,
        "run/x": 100,
    }
    assert (found["gold/b"]["bytes_removed"], found["silver/a"]["events"]) == (3, 5)
    assert found["run/x"]["datasets"] == ["a", "b"]


def test_a_run_without_assets_writes_nothing(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    Recorder("run/x", prices=load_prices()).close(run_id="r", storage=storage)
    assert Table.find(specs.costs(), storage=storage) is None


def test_what_threads_ask_for_at_once_is_all_counted() -> None:
    before = meter.taken()

    def work() -> None:
        for _ in range(1000):
            meter.got(3)
            meter.listed(1001)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = meter.taken() - before
    assert (used.bytes_in, used.objects_in, used.requests_get, used.requests_put) == (12_000, 4000, 4000, 8000)
    assert Used() + used == used


def test_of_a_process_that_is_a_runs_own_the_start_is_the_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_ORIGIN", [])
    spent = os.times()
    assert spent.user + spent.system > 0.1  # this process has imported Dagster
    storage = Storage.at(str(tmp_path))
    meter.own_process()
    recorder = Recorder("run/x", prices=load_prices())
    with recorder.of("silver/a", "a"):
        pass
    recorder.close(run_id="r", storage=storage)
    assert recorded(storage)["run/x"]["cpu_seconds"] > 0.1
    shutil.rmtree(tmp_path)
