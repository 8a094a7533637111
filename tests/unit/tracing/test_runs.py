"""A run's commits name it, and a run about one batch, or one event, is found by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.definitions import build
from dagster_project.settings import Settings
from dagster_project.tracing.journey import trace
from tests.unit.lakes import Lake, reading

EU = "2026-01-01|eu"
ABOUT = ("lakehouse/batch", "lakehouse/correlation_id")


def refined(lake: Lake, home: Path) -> tuple[str, dict[str, str]]:
    """Refine and compute by a run of Dagster; its id, and its tags that say what it was about."""
    own = Settings(home=home, project=home, lake_uri=lake.storage.uri, bootstrap_servers="")
    repository = build(lake.catalog, own).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        done = repository.get_job("refine_readings").execute_in_process(instance=instance, partition_key=EU)
        assert done.success
        run = instance.get_run_by_id(done.run_id)
        assert run is not None
        return done.run_id, {name: value for name, value in run.tags.items() if name in ABOUT}


def test_commits_of_a_run_name_it_and_the_run_names_its_event(lake: Lake, tmp_path: Path) -> None:
    lake.arrive(replace(reading(0, "a"), correlation_id="c-1"))
    run_id, tags = refined(lake, tmp_path)
    assert tags == {"lakehouse/batch": "0", "lakehouse/correlation_id": "c-1"}
    (event,) = trace("c-1", catalog=lake.catalog, storage=lake.storage).events
    assert {step.stage: step.run for step in event.steps if step.version is not None} == {
        "bronze": "",  # which this test has filled by hand
        "silver": run_id,
        "gold": run_id,
    }
    (silver,) = lake.silver.commits(event.steps[2].version or 0)
    assert (silver.info["run_id"], silver.info["batch_id"]) == (run_id, "0")


@pytest.mark.parametrize(("batches", "tagged"), [(1, {"lakehouse/batch": "0"}), (2, {})])
def test_a_run_about_more_is_tagged_with_what_it_is_about_alone(
    lake: Lake, tmp_path: Path, batches: int, tagged: dict[str, str]
) -> None:
    for batch in range(batches):
        lake.arrive(reading(2 * batch, f"{batch}/a"), reading(2 * batch + 1, f"{batch}/b"))
    _, tags = refined(lake, tmp_path)
    assert tags == tagged
