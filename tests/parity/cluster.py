"""A mart that its contract gives to Spark, launched by Dagster Pipes on a standalone cluster of one master and two workers.

make parity
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.assets.partitions import partition_name
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.definitions import build
from dagster_project.lake.keys import Key
from dagster_project.settings import REPOSITORY, Settings
from tests.parity.standalone import Cluster, standalone
from tests.unit.lakes import CONTRACT, EPOCH, MART, SQL, Lake, reading, write_project

_SPARK = MART.replace("{property: inputs,", "{property: engine, value: spark}\n      - {property: inputs,")
_EU = Key(EPOCH.date(), "eu")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Generator[Cluster]:
    with standalone(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": _SPARK, "levels.sql": SQL}
    return load_catalog(write_project(tmp_path_factory.mktemp("contracts"), files))


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    lake = Lake.at(tmp_path / "lake", catalog=catalog)
    lake.arrive(reading(0, "a", level=1), reading(1, "b", level=2), reading(2, "c", region="us", level=5))
    lake.refine()
    return lake


@pytest.fixture
def instance() -> Generator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def run(
    lake: Lake, cluster: Cluster, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dg.ExecuteInProcessResult]:
    """Runs Silver and the mart of one table partition, as the sensor would have it."""
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings(
        home=tmp_path, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers="", spark=cluster.master
    )
    job = build(lake.catalog, settings).resolve_job_def("refine_readings")
    return lambda: job.execute_in_process(instance=instance, partition_key=partition_name(_EU), raise_on_error=False)


def totals(lake: Lake) -> list[tuple[object, ...]]:
    rows = lake.gold.rows().select("region", "readings", "total").collect()
    return sorted(rows.rows())


@pytest.mark.timeout(900)
def test_the_run_computes_on_the_cluster_and_tells_of_it(
    lake: Lake, run: Callable[[], dg.ExecuteInProcessResult], instance: dg.DagsterInstance
) -> None:
    done = run()
    assert done.success
    assert totals(lake) == [("eu", 2, 3)]
    (told,) = done.asset_materializations_for_node("gold__levels")
    assert told.metadata["engine"].value == "spark"
    # What the job says of itself, by way of Pipes.
    assert str(told.metadata["spark/application"].value).startswith("app-"), (
        "a standalone cluster names its applications so"
    )
    assert (told.metadata["spark/rows"].value, told.metadata["spark/files"].value) == (1, 1)
    logged = [entry.user_message for entry in instance.all_logs(done.run_id)]
    assert any("1 files to read" in line for line in logged), "the job's log is in the run's"
    # The files are the job's own, below the table.
    assert lake.gold.files()["path"].str.starts_with("spark-").all()
    version = lake.gold.version
    assert run().success, "what is computed again by hand"
    assert totals(lake) == [("eu", 2, 3)]
    assert lake.gold.files()["path"].str.starts_with("spark-").all()
    assert lake.gold.version == version + 1, "only what it was computed from"


def test_a_mart_for_spark_says_what_is_missing_where_there_is_no_cluster(
    lake: Lake, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers="")
    job = build(lake.catalog, settings).resolve_job_def("refine_readings")
    done = job.execute_in_process(instance=instance, partition_key=partition_name(_EU), raise_on_error=False)
    assert not done.success
    (failure,) = done.failure_data_for_node("gold__levels").error.message.splitlines()[:1]  # pyright: ignore[reportOptionalMemberAccess]
    assert "LAKEHOUSE_SPARK is not set" in failure
    assert isinstance(lake.gold.rows(), pl.LazyFrame)
    assert lake.gold.rows().collect().is_empty()
