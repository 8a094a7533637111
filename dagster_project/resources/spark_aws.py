"""Spark jobs on Amazon's services, launched by dagster-aws' own Pipes clients."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import dagster as dg

from dagster_project.errors import EngineError
from dagster_project.lake.storage import Storage
from dagster_project.spark.code import published_code
from dagster_project.spark.order import Order

_LOGS = {"monitoringConfiguration": {"cloudWatchLoggingConfiguration": {"enabled": True}}}


@dataclass(frozen=True, kw_only=True)
class EmrServerless:
    """A job of an EMR Serverless application, which starts and stops its workers by itself.

    Attributes:
        role: ARN of the role that jobs have.
    """

    context: dg.AssetExecutionContext | dg.OpExecutionContext
    storage: Storage
    application: str
    role: str

    def __call__(self, uri: str, order: Order) -> None:
        """Run the job of an order.

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
            PipesEMRServerlessClient().run(context=self.context, start_job_run_params=params)
        except RuntimeError as error:
            raise _failed(order, error, f"the EMR Serverless application {self.application}") from error


@dataclass(frozen=True, kw_only=True)
class Glue:
    """A run of a Glue job of type glueetl, which is made once, with its role, workers, and any script: the run names its own."""

    context: dg.AssetExecutionContext | dg.OpExecutionContext
    storage: Storage
    job: str

    def __call__(self, uri: str, order: Order) -> None:
        """Run the job of an order.

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
            client.run(context=self.context, start_job_run_params=params)
        except RuntimeError as error:
            raise _failed(order, error, f"the Glue job {self.job}") from error


def _failed(order: Order, error: RuntimeError, where: str) -> EngineError:
    return EngineError(
        f"the Spark job of {order.name} has failed: {error}",
        expected="a job that ends with a manifest; nothing was committed",
        remedy=f"look at the job's own log, of {where}; the next run starts anew",
    )
