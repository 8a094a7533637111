"""Dagster and a newer version: nothing is launched for it before its release has begun, then it is kept like any other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.refine.rollout import start, take_over
from dagster_project.resources.lake import LakeResource
from dagster_project.settings import Settings
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, reading, write_project


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    newer = CONTRACT.replace("version: 1.0.0", "version: 2.0.0")
    files = {"readings.odcs.yaml": CONTRACT, "v2.odcs.yaml": newer, "levels.odcs.yaml": MART, "levels.sql": SQL}
    return Lake.at(tmp_path / "lake", catalog=load_catalog(write_project(tmp_path / "contracts", files)))


def launched(lake: Lake, home: Path) -> set[str]:
    """Jobs that the sensor of Bronze's changes asks for."""
    settings = Settings(home=home, project=home, lake_uri=lake.storage.uri, bootstrap_servers="")
    repository = build(lake.catalog, settings).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance, resources={"lake": LakeResource(uri=lake.storage.uri)}, repository_def=repository
        )
        found = repository.get_sensor_def("bronze_changes")(context)
        assert isinstance(found, (dg.SensorResult, dg.SkipReason))
        return (
            {str(request.job_name) for request in found.run_requests or ()}
            if isinstance(found, dg.SensorResult)
            else set()
        )


def test_the_newer_version_is_left_alone_until_it_is_started_and_marts_follow_the_one_that_serves(
    lake: Lake, tmp_path: Path
) -> None:
    lake.arrive(reading(0, "a", level=1))
    assert launched(lake, tmp_path) == {"refine_readings"}
    start(lake.catalog, "readings", storage=lake.storage)
    assert launched(lake, tmp_path) == {"refine_readings", "refine_readings_v2"}
    lake.refine()
    lake.compute()
    assert launched(lake, tmp_path) == {"refine_readings_v2"}
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    assert launched(lake, tmp_path) == {"refine_readings"}  # which computes the mart
    lake.compute()
    assert launched(lake, tmp_path) == set()
