"""Jobs of EMR, EMR Serverless and Glue: what their services are asked, as far as moto's stand-ins go.

The stand-ins run nothing and write no logs, so the job is done, and its log written, in this process, when its service is asked to
start it.

    make parity
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from moto import mock_aws

from dagster_project.contract.loader import load_catalog
from dagster_project.refine.gold import compute
from dagster_project.resources.spark import SparkResource
from dagster_project.spark.code import JOB
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


def run(lake: Lake, where: str) -> dict[str, Any]:
    """Compute the mart within an op, which Pipes needs to be launched from; what is told of the job."""
    told: dict[str, Any] = {}

    @dg.op
    def work(context: dg.OpExecutionContext) -> None:
        engine = SparkResource(where=where).engine(lake.mart, storage=lake.storage, context=context)
        for done in compute(lake.mart, catalog=lake.catalog, storage=lake.storage, keys=None, engine=engine):
            told.update(done.told)

    @dg.job
    def job() -> None:
        work()

    job.execute_in_process()
    return told


def doing(
    job: Job,
    asked: list[dict[str, Any]],
    original: Callable[..., Any],
    order: Callable[[dict[str, Any]], str],
    *,
    operation: str = "StartJobRun",
    streams: Callable[[dict[str, Any]], tuple[str, ...]] | None = None,
) -> Callable[..., Any]:
    """A client's call that does the job before the stand-in says that it is done.

    Args:
        streams: of what starting the job has answered, the log group and the streams that the service would write.
    """

    def call(self: object, name: str, params: dict[str, Any]) -> Any:
        answer = original(self, name, params)
        if name == operation:
            asked.append(params)
            uri = order(params)
            job(uri, _Output(uri.rpartition("/")[0]))  # pyright: ignore[reportArgumentType] all that it asks for
            if streams is not None:
                says(*streams(answer))
        return answer

    return call


def says(group: str, *streams: str) -> None:
    """Write what a job says to the log that its service keeps, as Pipes does."""
    messages = [("opened", {"extras": {}}), ("report_custom_message", {"payload": {"rows": 1}}), ("closed", {})]
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName=group)
    for stream in streams:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
        now = int(time.time() * 1000)
        events = [
            {
                "timestamp": now,
                "message": json.dumps({"__dagster_pipes_version": "0.1", "method": name, "params": params}),
            }
            for name, params in messages
        ]
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def _group(run_id: str) -> str:
    """The log group of a run of Glue, as the stand-in has it."""
    return boto3.client("glue").get_job_run(JobName="lake", RunId=run_id)["JobRun"]["LogGroupName"] + "/output"


class _Output:
    def __init__(self, output: str) -> None:
        self.output = output


def test_emr_serverless(aws: None, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import botocore.client

    emr = boto3.client("emr-serverless")
    application = emr.create_application(name="lake", releaseLabel="emr-7.9.0", type="SPARK")["applicationId"]
    asked: list[dict[str, Any]] = []
    job = Job(rows={EU: [{"readings": 1, "total": 3}]})
    call = doing(
        job,
        asked,
        botocore.client.BaseClient._make_api_call,  # pyright: ignore[reportAttributeAccessIssue]
        lambda params: params["jobDriver"]["sparkSubmit"]["entryPointArguments"][1],
        streams=lambda answer: (
            "/aws/emr-serverless",
            *(
                f"/applications/{application}/jobs/{answer['jobRunId']}/SPARK_DRIVER/{name}"
                for name in ("stdout", "stderr")
            ),
        ),
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    told = run(lake, f"emr-serverless://{application}?role={ROLE}")
    assert told["rows"] == 1, "what the job says"
    assert {"AWS EMR Serverless Job Run ID"} <= set(told), "and what its service does"
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
        streams=lambda answer: (_group(answer["JobRunId"]), answer["JobRunId"]),
    )
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", call)
    monkeypatch.setattr("time.sleep", lambda _: None)  # between looks at the job's state
    told = run(lake, "glue://lake")
    assert asked[0]["Arguments"]["--scriptLocation"].endswith("/job.py")
    assert "--dagster-pipes-context" in asked[0]["Arguments"]
    assert told["rows"] == 1, "what the job says"
    assert {"AWS Glue Job Run ID", "AWS Glue Job Run URL"} <= set(told), "and what its service does"
    assert lake.gold.rows().select("readings", "total").collect().rows() == [(1, 3)]


# The stand-in writes no logs of steps, for which Pipes waits in vain.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_emr_starts_a_cluster_for_the_job(
    aws: None, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import botocore.client

    boto3.client("s3").create_bucket(
        Bucket="messages", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    cluster: dict[str, Any] = {"ReleaseLabel": "emr-7.9.0", "JobFlowRole": "nodes", "ServiceRole": "service"}
    cluster["Instances"] = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1}
    (tmp_path / "cluster.json").write_text(json.dumps(cluster), encoding="utf-8")
    asked: list[dict[str, Any]] = []
    job = Job(rows={EU: [{"readings": 1, "total": 3}]})
    done = doing(
        job,
        asked,
        botocore.client.BaseClient._make_api_call,  # pyright: ignore[reportAttributeAccessIssue]
        lambda params: params["Steps"][0]["HadoopJarStep"]["Args"][-1],
        operation="RunJobFlow",
    )
    # The stand-in's cluster has ended before anybody could see it run: first the log readers look at it, then who waits for
    # it to run, then who waits for its end.
    states = iter(["STARTING", "RUNNING"])

    def seen(self: object, name: str, params: dict[str, Any]) -> Any:
        answer = done(self, name, params)
        if name == "DescribeCluster":
            answer["Cluster"]["Status"]["State"] = next(states, "TERMINATED")
        return answer

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", seen)
    assert "AWS EMR Cluster ID" in run(lake, f"emr://{tmp_path}/cluster.json?bucket=messages")
    (params,) = asked
    command = params["Steps"][0]["HadoopJarStep"]["Args"]
    assert Path(command[3]).read_bytes() == JOB.read_bytes()
    assert params["ReleaseLabel"] == "emr-7.9.0"
    assert "DAGSTER_PIPES_MESSAGES" in json.dumps(params["Configurations"])
    assert lake.gold.rows().select("readings", "total").collect().rows() == [(1, 3)]
