"""Where Spark jobs run: what `LAKEHOUSE_SPARK` may say, and what is wrong with what it says."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.errors import ConfigurationError
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.resources.spark import SparkResource
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.spark.code import published_code
from tests.unit.lakes import CONTRACT, SQL, Lake, reading, write_project
from tests.unit.spark.test_contract import SPARK


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": SPARK, "levels.sql": SQL}
    lake = Lake.at(tmp_path / "lake", catalog=load_catalog(write_project(tmp_path / "contracts", files)))
    lake.arrive(reading(0, "a", level=3))
    lake.refine()
    return lake


@pytest.mark.parametrize(
    "where",
    [
        "",
        "glue://",
        "emr:///cluster.json",
        "emr://?bucket=messages",
        "emr-serverless://application",
        "emr-serverless://?role=arn",
    ],
)
def test_half_an_address_is_refused(lake: Lake, where: str) -> None:
    with pytest.raises(ConfigurationError, match="LAKEHOUSE_SPARK is"):
        SparkResource(where=where).engine(lake.mart, storage=lake.storage, context=dg.build_op_context())


def test_the_code_is_published_once_and_imports_nothing_of_the_platform(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    code = published_code(storage)
    first = Path(code.job).stat().st_mtime_ns
    assert published_code(storage) == code
    assert Path(code.job).stat().st_mtime_ns == first
    assert "dagster_project" not in Path(code.job).read_text(encoding="utf-8").replace("`dagster_project", "")
    assert "class PipesContext" in Path(code.pipes).read_text(encoding="utf-8")


def test_a_run_with_a_job_on_a_cluster_may_take_longer(lake: Lake, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, project=REPOSITORY, lake_uri=lake.storage.uri, bootstrap_servers="")
    definitions = build(lake.catalog, settings)
    for name in ("refine_readings", "catch_up_readings"):
        assert definitions.resolve_job_def(name).tags["dagster/max_runtime"] == "3600"


def test_a_cluster_of_emr_is_described_by_a_file(lake: Lake, tmp_path: Path) -> None:
    where = f"emr://{tmp_path}/none.json?bucket=messages"
    engine = SparkResource(where=where).engine(lake.mart, storage=lake.storage, context=dg.build_op_context())
    with pytest.raises(ConfigurationError, match="RunJobFlow, without steps"):
        list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, engine=engine))
    assert lake.gold.rows().collect().is_empty()
