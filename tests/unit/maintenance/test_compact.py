"""Compaction as a person asks for it, and as Dagster does it at night."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.definitions import build
from dagster_project.settings import Settings
from tests.unit.lakes import Lake, reading, small_catalog

BATCHES = 5


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A project whose Silver has five small files; Bronze's only day is open, Gold was computed once."""
    lake = Lake.at(tmp_path / "lake", catalog=small_catalog(tmp_path / "contracts"))
    for number in range(BATCHES):
        lake.arrive(reading(number, f"k{number}"))
        lake.refine()
    lake.compute()
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKEHOUSE_URI", lake.storage.uri)
    return lake


def files(lake: Lake) -> tuple[int, int, int]:
    return len(lake.bronze.files()), len(lake.silver.files()), len(lake.gold.files())


def test_a_dry_run_tells_and_changes_nothing(project: Lake) -> None:
    told = CliRunner().invoke(app, ["compact", "--dataset", "readings", "--dry-run"])
    assert told.exit_code == 0, told.output
    assert "silver/readings: 5 files → 1, 5 rows" in told.stdout
    assert "(would be merged)" in told.stdout
    assert files(project) == (BATCHES, BATCHES, 1)


def test_the_command_compacts_and_then_finds_nothing_to_do(project: Lake) -> None:
    ids = sorted(project.silver.rows().collect()["id"])
    told = CliRunner().invoke(app, ["compact", "--json"])
    assert told.exit_code == 0, told.output
    (done,) = json.loads(told.stdout)
    assert (done["table"], done["files"], done["into"], done["rows"]) == ("silver/readings", BATCHES, 1, BATCHES)
    assert done["version"] == project.silver.version
    assert files(project) == (BATCHES, 1, 1)
    assert sorted(project.silver.rows().collect()["id"]) == ids
    assert CliRunner().invoke(app, ["compact"]).stdout == "nothing to compact\n"


def test_an_unknown_dataset_is_an_error(project: Lake) -> None:
    refused = CliRunner().invoke(app, ["compact", "--dataset", "nothing"])
    assert (refused.exit_code, "no dataset 'nothing'" in refused.stderr) == (1, True)


def test_dagster_compacts_every_night(project: Lake, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, project=tmp_path, lake_uri=project.storage.uri, bootstrap_servers="")
    repository = build(project.catalog, settings).get_repository_def()
    schedule = repository.get_schedule_def("compact_readings_daily")
    assert (schedule.job_name, schedule.default_status) == ("compact_readings", dg.DefaultScheduleStatus.RUNNING)
    with dg.DagsterInstance.ephemeral() as instance:
        assert repository.get_job("compact_readings").execute_in_process(instance=instance).success
    assert files(project) == (BATCHES, 1, 1)
    assert project.silver.rows().select(pl.len()).collect().item() == BATCHES


def test_compaction_takes_turns_with_the_runs_that_write_silver_and_gold_but_not_with_ingest(
    project: Lake, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, project=tmp_path, lake_uri=project.storage.uri, bootstrap_servers="")
    repository = build(project.catalog, settings).get_repository_def()
    pools = {node.name: node.definition.pools for node in repository.get_job("compact_readings").graph.nodes}
    assert pools == {
        "compact_readings_bronze_readings": set(),
        "compact_readings_silver_readings": {"silver_readings"},
        "compact_readings_quarantine_readings": {"quarantine_readings"},
        "compact_readings_gold_levels": {"gold_levels"},
    }
    silver = repository.assets_defs_by_key[dg.AssetKey(["silver", "readings"])]
    assert silver.op.pool == "silver_readings"
