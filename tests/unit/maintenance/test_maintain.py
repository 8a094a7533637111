"""Maintenance as a person asks for it, and as Dagster does it at night."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from dagster_project.accounting.account import account
from dagster_project.cli.main import app
from dagster_project.definitions import build
from dagster_project.lake import specs
from dagster_project.settings import Settings
from tests.unit.lakes import Lake, reading, small_catalog

BATCHES = 5


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A project whose Silver has five small files; of Bronze one day in January is older than the retention."""
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


def maintain(*arguments: str) -> Any:
    told = CliRunner().invoke(app, ["maintain", *arguments])
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout) if "--json" in arguments else told.stdout


def repository(lake: Lake, home: Path) -> dg.RepositoryDefinition:
    settings = Settings(home=home, project=home, lake_uri=lake.storage.uri, bootstrap_servers="")
    return build(lake.catalog, settings).get_repository_def()


def test_a_dry_run_tells_and_changes_nothing(project: Lake) -> None:
    told = maintain("--dry-run", "--json")
    assert files(project) == (BATCHES, BATCHES, 1)
    (expired,) = told["expired"]
    assert (expired["rows"], expired["partitions"], expired["version"]) == (BATCHES, ["2026-01-01/eu"], None)
    silver = next(table for table in told["tables"] if table["table"] == "silver/readings")
    assert [(item["files"], item["into"]) for item in silver["compacted"]] == [(BATCHES, 1)]
    assert silver["before"] == silver["after"]
    assert "would be deleted from bronze/readings: 5 rows, 5 files" in maintain("--dry-run")


def test_the_command_maintains_and_then_finds_nothing_to_do(project: Lake) -> None:
    ids = sorted(project.silver.rows().collect()["id"])
    told = maintain("--json")
    (expired,) = told["expired"]
    assert (expired["rows"], expired["places"]) == (BATCHES, {"silver_rows": BATCHES})
    assert [table["table"] for table in told["tables"]] == [
        *("bronze/readings", "silver/readings", "quarantine/readings", "ledger/readings", "gold/levels")
    ]
    assert files(project) == (0, 1, 1)
    assert sorted(project.silver.rows().collect()["id"]) == ids
    again = maintain("--json")
    assert again["expired"] == []
    assert all(table["before"] == table["after"] and not table["compacted"] for table in again["tables"])
    found = account(project.dataset, catalog=project.catalog, storage=project.storage, topic=None, bootstrap_servers="")
    assert (found.problems, found.expired, found.silver_rows) == ((), BATCHES, BATCHES)


def test_an_unknown_dataset_is_an_error(project: Lake) -> None:
    refused = CliRunner().invoke(app, ["maintain", "--dataset", "nothing"])
    assert (refused.exit_code, "no dataset 'nothing'" in refused.stderr) == (1, True)


def test_what_silver_has_lost_after_it_expired_is_given_up_by_a_person(project: Lake) -> None:
    accept = ["loss", "accept", "readings", "--expired", "--reason", "no copy", "--by", "ops", "--yes"]
    maintain()
    refused = CliRunner().invoke(app, accept)
    assert (refused.exit_code, "nothing is missing" in refused.stderr) == (1, True)
    shutil.rmtree(project.silver.uri)
    told = CliRunner().invoke(app, [*accept, "--json"])
    assert told.exit_code == 0, told.output
    (row,) = json.loads(told.stdout)
    assert (row["first"], row["last"], row["state"], row["by"]) == (0, BATCHES - 1, "declared", "ops")
    project.refine()
    assert CliRunner().invoke(app, accept).exit_code == 1


def test_dagster_maintains_every_night_and_tells_what_it_did(project: Lake, tmp_path: Path) -> None:
    found = repository(project, tmp_path)
    told: dict[str, dict[str, Any]] = {}
    for name in ("expire_readings", "maintain_readings"):
        schedule = found.get_schedule_def(f"{name}_daily")
        assert (schedule.job_name, schedule.default_status) == (name, dg.DefaultScheduleStatus.RUNNING)
        with dg.DagsterInstance.ephemeral() as instance:
            result = found.get_job(name).execute_in_process(instance=instance)
            assert result.success
            told |= {
                event.asset_key.to_user_string(): {
                    label: item.value for label, item in event.materialization.metadata.items()
                }
                for event in result.get_asset_materialization_events()
                if event.asset_key is not None
            }
    assert files(project) == (0, 1, 1)
    assert project.silver.rows().select(pl.len()).collect().item() == BATCHES
    expiry = told["expiry/readings"]
    assert (expiry["rows_deleted"], expiry["partitions"], expiry["files_deleted"]) == (
        BATCHES,
        ["2026-01-01/eu"],
        BATCHES,
    )
    assert (expiry["bytes_deleted"] > 0, expiry["overdue_partitions_kept"]) == (True, 0)
    silver = told["upkeep/silver_readings"]
    assert (silver["live_files_before"], silver["live_files_after"], silver["files_compacted"]) == (BATCHES, 1, BATCHES)
    assert silver["live_bytes_before"] > silver["live_bytes_after"] > 0
    assert silver["checkpoint"] == project.silver.version
    assert {name for name in told if name.startswith("upkeep/")} == {
        *("upkeep/bronze_readings", "upkeep/silver_readings", "upkeep/quarantine_readings", "upkeep/ledger_readings"),
        "upkeep/gold_levels",
    }


def test_a_backfill_of_what_has_expired_fails_and_names_it(project: Lake, tmp_path: Path) -> None:
    maintain()
    silver = repository(project, tmp_path).assets_defs_by_key[dg.AssetKey(["silver", "readings"])]
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [silver],
            partition_key=dg.MultiPartitionKey({"date": "2026-01-01", "region": "eu"}),
            instance=instance,
            raise_on_error=False,
        )
        failed = [event for event in result.all_events if event.is_step_failure]
    assert (result.success, len(failed)) == (False, 1)  # not tried again: it would fail again
    failure = failed[0].step_failure_data.user_failure_data
    assert failure is not None
    found = str(failure.metadata["found"].value)
    assert "silver/readings cannot be rebuilt in 1 table partitions" in found
    assert "2026-01-01/eu: 5 rows, offsets 0/0-4" in found


def test_upkeep_takes_turns_with_the_runs_that_write_silver_and_gold_but_not_with_ingest(
    project: Lake, tmp_path: Path
) -> None:
    found = repository(project, tmp_path)
    assets = found.assets_defs_by_key
    pools = {
        key.path[1]: definition.op.pool for key, definition in assets.items() if key.path[0] in {"upkeep", "expiry"}
    }
    assert pools == {
        "readings": None,
        "bronze_readings": None,
        "silver_readings": "silver_readings",
        "quarantine_readings": "quarantine_readings",
        "ledger_readings": None,
        "gold_levels": "gold_levels",
        **{f"ops_{spec.name}": None for spec in specs.ops()},
    }
    assert assets[dg.AssetKey(["silver", "readings"])].op.pool == "silver_readings"
