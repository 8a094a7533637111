"""Spark jobs on Amazon's services, launched by dagster-aws' own Pipes clients."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from dagster_project.errors import ConfigurationError
from dagster_project.lake.storage import Storage
from dagster_project.resources.spark_pipes import failed, told
from dagster_project.spark.code import published_code
from dagster_project.spark.order import Order

_LOGS = {"monitoringConfiguration": {"cloudWatchLoggingConfiguration": {"enabled": True}}}


@dataclass(frozen=True, kw_only=True)
class EmrServerless:
    """A job of an EMR Serverless application, which starts and stops its workers by itself.

    Attributes:
        role: ARN of the role that jobs have.
    """

    context: dg.OpExecutionContext
    storage: Storage
    application: str
    role: str

    def __call__(self, uri: str, order: Order) -> Mapping[str, Any]:
        """Run the job of an order; what it reports.

        Raises:
            EngineError: the job has failed.
        """
        from dagster_aws.pipes import PipesEMRServerlessClient

        code = published_code(self.storage)
        submit = {
            "entryPoint": code.job,
            "entryPointArguments": ["--order", uri],
            "sparkSubmitParameters": f"--py-files {code.pipes}",
        }
        params: Any = {
            "applicationId": self.application,
            "executionRoleArn": self.role,
            "clientToken": str(uuid.uuid4()),
            "name": order.name,
            "jobDriver": {"sparkSubmit": submit},
            "configurationOverrides": _LOGS,
        }
        try:
            return told(PipesEMRServerlessClient().run(context=self.context, start_job_run_params=params))
        except RuntimeError as error:
            raise failed(order, error, f"the EMR Serverless application {self.application}") from error


@dataclass(frozen=True, kw_only=True)
class Glue:
    """A run of a Glue job of type glueetl, which is made once, with its role, workers, and any script: the run names its own."""

    context: dg.OpExecutionContext
    storage: Storage
    job: str

    def __call__(self, uri: str, order: Order) -> Mapping[str, Any]:
        """Run the job of an order; what it reports.

        Raises:
            EngineError: the job has failed.
        """
        from dagster_aws.pipes import PipesGlueClient

        code = published_code(self.storage)
        params: Any = {
            "JobName": self.job,
            "Arguments": {"--scriptLocation": code.job, "--extra-py-files": code.pipes, "--order": uri},
        }
        try:
            client = PipesGlueClient(context_injector=dg.PipesEnvContextInjector())
            return told(client.run(context=self.context, start_job_run_params=params))
        except RuntimeError as error:
            raise failed(order, error, f"the Glue job {self.job}") from error


@dataclass(frozen=True, kw_only=True)
class Emr:
    """A cluster of EMR for each job, which ends with it.

    Attributes:
        cluster: a JSON file of `run_job_flow`'s parameters: release, instances, roles, logs. The step is the platform's.
        bucket: of S3, by which the job tells the run what it does.
    """

    context: dg.OpExecutionContext
    storage: Storage
    cluster: Path
    bucket: str

    def __call__(self, uri: str, order: Order) -> Mapping[str, Any]:
        """Run the job of an order; what it reports.

        Raises:
            ConfigurationError: the file cannot be read.
            EngineError: the job has failed.
        """
        import boto3
        from botocore.exceptions import WaiterError
        from dagster_aws.pipes import PipesEMRClient, PipesS3MessageReader

        try:
            params: Any = json.loads(self.cluster.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"LAKEHOUSE_SPARK names {self.cluster}: {error}",
                expected="a JSON file of the parameters of EMR's RunJobFlow, without steps",
                remedy="write it, see docs/spark.md",
            ) from error
        code = published_code(self.storage)
        command = ["spark-submit", "--py-files", code.pipes, code.job, "--order", uri]
        step = {"Jar": "command-runner.jar", "Args": command}
        params["Name"] = order.name
        params["Steps"] = [{"Name": order.name, "ActionOnFailure": "TERMINATE_CLUSTER", "HadoopJarStep": step}]
        reader = PipesS3MessageReader(bucket=self.bucket, client=boto3.client("s3"), include_stdio_in_messages=True)
        try:
            return told(PipesEMRClient(message_reader=reader).run(context=self.context, run_job_flow_params=params))
        except WaiterError as error:
            raise failed(order, error, "the cluster that EMR started for it") from error
