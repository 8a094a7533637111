"""Jobs of EMR Serverless and Glue: what their services are asked, as far as moto's stand-ins go.

The stand-ins run nothing and write no logs, so the job itself is done in this process, when its service is asked to start it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from moto import mock_aws

from dagster_project.contract.loader import load_catalog
from dagster_project.definitions import build
from dagster_project.errors import ConfigurationError
from dagster_project.lake.storage import Storage
from dagster_project.refine.gold import compute
from dagster_project.resources.spark import SparkResource
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.spark.code import JOB, published_code
from tests.unit.lakes import CONTRACT, SQL, Lake, reading, write_project
from tests.unit.spark.jobs import Job
from tests.unit.spark.test_contract import SPARK

ROLE = "arn:aws:iam::123456789012:role/jobs"
EU = ("2026-01-01", "eu")


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        yield


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": SPARK, "levels.sql": SQL}
    lake = Lake.at(tmp_path / "lake", catalog=load_catalog(write_project(tmp_path / "contracts", files)))
    lake.arrive(reading(0, "a", level=3))
    lake.refine()
    return lake


def run(lake: Lake, where: str) -> dg.ExecuteInProcessResult:
    """Compute the mart within an op, which Pipes needs to be launched from."""

    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        engine = SparkResource(where=where).engine(lake.mart, storage=lake.storage, context=context)
        list(compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, engine=engine))

    @dg.job
    def job() -> None:
        work()

    return job.execute_in_process(raise_on_error=False)


def doing(
    job: Job, asked: list[dict[str, Any]], original: Callable[..., Any], order: Callable[[dict[str, Any]], str]
) -> Callable[..., Any]:
    """A client's call that does the job before the stand-in says that it is done."""

    def call(self: object, operation: str, params: dict[str, Any]) -> Any:
        if operation == "StartJobRun":
            asked.append(params)
            uri = order(params)
            job(uri, _Output(uri.rpartition("/")[0]))  # pyright: ignore[reportArgumentType] all that it asks for
        return original(self, operation, params)

    return call


class _Output:
    def __init__(self, output: str) -> None:
        self.output = output


def test_emr_serverless(aws: None, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.client

    emr = boto3.client("emr-serverless")
    application = emr.create_application(name="lake", releaseLabel="emr-7.9.0", type="Spark")["applicationId"]
    asked: list[dict[str, Any]] = []
    job = Job(rows={EU: [{"readings": 1, "total": 3}]})
    call = doing(
        job,
        asked,
        botocore.client.BaseClient._make_api_call,  # pyright: ignore[reportAttributeAccessIssue]
        lambda params: params["jobDriver"]["sparkSubmit"]["entryPointArguments"][1],
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    done = run(lake, f"emr-serverless://{application}?role={ROLE}")
    assert done.success
    (params,) = asked
    submit = params["jobDriver"]["sparkSubmit"]
    assert (params["applicationId"], params["executionRoleArn"]) == (application, ROLE)
    assert Path(submit["entryPoint"]).read_bytes() == JOB.read_bytes()
    assert "spark.emr-serverless.driverEnv.DAGSTER_PIPES_CONTEXT=" in submit["sparkSubmitParameters"]
    assert lake.gold.rows().select("readings", "total").collect().rows() == [(1, 3)]


def test_glue(aws: None, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.client

    glue = boto3.client("glue")
    glue.create_job(Name="lake", Role=ROLE, Command={"Name": "glueetl", "ScriptLocation": "s3://any/script.py"})
    asked: list[dict[str, Any]] = []
    job = Job(rows={EU: [{"readings": 1, "total": 3}]})
    call = doing(
        job,
        asked,
        botocore.client.BaseClient._make_api_call,  # pyright: ignore[reportAttributeAccessIssue]
        lambda params: params["Arguments"]["--order"],
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between looks at the job's state
    done = run(lake, "glue://lake")
    assert asked[0]["Arguments"]["--scriptLocation"].endswith("/job.py")
    assert "--dagster-pipes-context" in asked[0]["Arguments"]
    assert done.success
    assert lake.gold.rows().select("readings", "total").collect().rows() == [(1, 3)]


@pytest.mark.parametrize("where", ["", "glue://", "emr-serverless://application", "emr-serverless://?role=arn"])
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
