"""Marts in Dagster: which runs are asked for, in which order, what they say; and what depends on what."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_project.contract.model import Catalog
from dagster_project.definitions import build
from dagster_project.resources.lake import LakeResource
from dagster_project.settings import Settings
from tests.unit.lakes import reading
from tests.unit.marts.world import World, world_catalog


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return world_catalog(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def repository(project: Catalog, folder: Path) -> dg.RepositoryDefinition:
    settings = Settings(home=folder, project=folder, lake_uri=str(folder / "lake"), bootstrap_servers="")
    return build(project, settings).get_repository_def()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def asked(repository: dg.RepositoryDefinition, world: World, instance: dg.DagsterInstance) -> dict[str, list[str]]:
    """By job, the ranges of the runs that are asked for."""
    context = dg.build_sensor_context(
        instance, resources={"lake": LakeResource(uri=world.storage.uri)}, repository_def=repository
    )
    found = repository.get_sensor_def("bronze_changes")(context)
    jobs: dict[str, list[str]] = {}
    for request in found.run_requests or [] if isinstance(found, dg.SensorResult) else []:
        ends = [request.tags.get(f"dagster/asset_partition_range_{end}", "") for end in ("start", "end")]
        jobs.setdefault(request.job_name or "", []).append("..".join(dict.fromkeys(filter(None, ends))))
    return jobs


def test_each_mart_is_asked_for_after_those_that_it_reads(
    repository: dg.RepositoryDefinition, project: Catalog, folder: Path, instance: dg.DagsterInstance
) -> None:
    world = World.at(folder / "lake", catalog=project)
    dimensions = {"aggregate_fixed": [""], "aggregate_people": [""], "aggregate_versions": [""]}
    assert asked(repository, world, instance) == dimensions
    world.readings.arrive(reading(0, "a", day=3))
    world.others.arrive(reading(0, "a@0", day=2))
    assert asked(repository, world, instance) == {
        "refine_readings": ["2026-01-03|eu"], "refine_others": ["2026-01-02|eu"], **dimensions
    }  # fmt: skip
    world.refine()
    first = asked(repository, world, instance)
    assert first == {
        "refine_readings": ["2026-01-03|eu"],  # for the mart that is computed with it
        "aggregate_dates": ["2026-01-03"],
        "aggregate_trailing": ["2026-01-03|eu..2026-01-05|eu"],
        "aggregate_leading": ["2026-01-02..2026-01-04"],
        **dimensions,
        "aggregate_both": ["2026-01-02..2026-01-03"],
    }
    world.compute("dates", "versions", "fixed", "same", "trailing", "leading", "people", "both")
    assert asked(repository, world, instance) == {"aggregate_facts": ["2026-01-03|eu"]}
    # While events arrive, nobody waits for what may never be up to date.
    create_run_for_test(instance, job_name="ingest_readings", status=dg.DagsterRunStatus.STARTED)
    world.compute("facts")
    world.others.arrive(reading(1, "a@1", day=3, at=3000))
    world.refine()
    assert "aggregate_report" in asked(repository, world, instance)

    # A run does what it was asked for, and says so; one without a range does all that waits.
    ran = repository.get_job("aggregate_versions").execute_in_process(instance=instance)
    (event,) = ran.asset_materializations_for_node("gold__versions")
    assert (event.partition, event.metadata["partitions_computed"].value) == (None, 1)
    assert event.metadata["computed"].value == "all"
    ran = repository.get_job("aggregate_report").execute_in_process(instance=instance)
    events = ran.asset_materializations_for_node("gold__report")
    assert {event.partition for event in events} == {None, "2026-01-03|eu", "2026-01-03|us"}
    told = next(event.metadata for event in events if event.partition is None)
    assert (told["computed"].value, told["partitions_current"].value) == ("2026-01-03 eu,us", 0)
    assert world.rows("report")["readings"].to_list() == [1]
    # By hand a dimension is computed whether or not it is older than its input.
    ran = repository.get_job("aggregate_fixed").execute_in_process(instance=instance)
    (event,) = ran.asset_materializations_for_node("gold__fixed")
    assert event.metadata["partitions_computed"].value == 1
    lineage = event.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineageMetadataValue)


def upstream(repository: dg.RepositoryDefinition, asset: str, of: str, partition: str) -> set[str]:
    """What Dagster takes a partition of a mart to be computed from."""
    key, parent = dg.AssetKey(["gold", asset]), dg.AssetKey(of.split("/"))
    down, up = (repository.assets_defs_by_key[item] for item in (key, parent))
    assert down.partitions_def is not None
    assert up.partitions_def is not None
    found = down.infer_partition_mapping(
        key, parent, up.partitions_def
    ).get_upstream_mapped_partitions_result_for_partitions(
        down.partitions_def.empty_subset().with_partition_keys([partition]),
        down.partitions_def,
        up.partitions_def,
        current_time=dt.datetime(2026, 2, 1, tzinfo=dt.UTC),
    )
    return set(found.partitions_subset.get_partition_keys())


def test_dagster_knows_which_partitions_are_read(repository: dg.RepositoryDefinition) -> None:
    assert upstream(repository, "same", "silver/readings", "2026-01-05|eu") == {"2026-01-05|eu"}
    assert upstream(repository, "dates", "silver/readings", "2026-01-05") == {"2026-01-05|eu", "2026-01-05|us"}
    assert upstream(repository, "trailing", "silver/readings", "2026-01-05|eu") == {
        f"2026-01-0{day}|eu" for day in (3, 4, 5)
    }
    assert upstream(repository, "trailing", "silver/readings", "2026-01-01|eu") == {"2026-01-01|eu"}
    assert upstream(repository, "report", "gold/dates", "2026-01-05|eu") == {"2026-01-05"}
    assert upstream(repository, "report", "gold/facts", "2026-01-05|eu") == {"2026-01-05|eu"}
    leading = repository.assets_defs_by_key[dg.AssetKey(["gold", "leading"])].partitions_def
    assert isinstance(leading, dg.DailyPartitionsDefinition)
    assert leading.get_first_partition_key() == "2025-12-31"  # a reading of the first day is read by the day before
    assert repository.assets_defs_by_key[dg.AssetKey(["gold", "people"])].partitions_def is None
