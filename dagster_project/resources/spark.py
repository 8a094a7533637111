"""Where Spark jobs run, as a Dagster resource: each is launched through Dagster Pipes, so that the run has its logs."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dagster as dg

from dagster_project.contract.model import Mart
from dagster_project.errors import ConfigurationError, EngineError
from dagster_project.lake.storage import Storage
from dagster_project.refine.engine import Engine
from dagster_project.refine.gold import LocalEngine
from dagster_project.resources.spark_aws import EmrServerless, Glue
from dagster_project.settings import REPOSITORY
from dagster_project.spark.code import JOB
from dagster_project.spark.engine import SparkEngine
from dagster_project.spark.order import Order

Context = dg.AssetExecutionContext | dg.OpExecutionContext
# Where `make spark-setup` puts PySpark; any other is looked for on the path.
_OWN = REPOSITORY / ".venv-spark" / "bin"


class SparkResource(dg.ConfigurableResource["SparkResource"]):
    """Computes marts whose contract says `engine: spark`, where `LAKEHOUSE_SPARK` says."""

    where: str = ""

    def engine(self, mart: Mart, *, storage: Storage, context: Context) -> Engine:
        """What computes a mart.

        Raises:
            ConfigurationError: its contract says Spark, and there is none.
        """
        if mart.engine == "local":
            return LocalEngine()
        where = urlsplit(self.where)
        role = parse_qs(where.query).get("role", [""])[0]
        match where.scheme:
            case "emr-serverless" if where.netloc and role:
                launch = EmrServerless(context=context, storage=storage, application=where.netloc, role=role)
                return SparkEngine(launch=launch)
            case "glue" if where.netloc:
                return SparkEngine(launch=Glue(context=context, storage=storage, job=where.netloc))
            case "emr-serverless" | "glue":
                pass
            case _ if self.where:
                # Hadoop's own client for S3 goes by this name.
                return SparkEngine(launch=Submit(context=context, master=self.where), schemes={"s3": "s3a"})
            case _:
                pass
        raise ConfigurationError(
            f"mart {mart.name} has engine: spark, and LAKEHOUSE_SPARK is {self.where or 'not set'}",
            expected="a master as spark-submit knows it (spark://host:7077, yarn, local[2], …), glue://<job>, or "
            "emr-serverless://<application>?role=<arn of the role that jobs have>",
            remedy="set it where the platform runs, see docs/spark.md, or take the line out of the contract",
        )


@dataclass(frozen=True, kw_only=True)
class Submit:
    """`spark-submit`, with the driver beside this process; what else a cluster wants is in its `spark-defaults.conf`."""

    context: Context
    master: str

    def __call__(self, uri: str, order: Order) -> None:
        """Run the job of an order.

        Raises:
            ConfigurationError: there is no `spark-submit`.
            EngineError: the job has failed.
        """
        path = os.pathsep.join([str(_OWN), os.environ.get("PATH", "")])
        submit = shutil.which("spark-submit", path=path)
        if submit is None:
            raise ConfigurationError(
                "no spark-submit",
                expected="PySpark in .venv-spark, or the bin folder of a Spark on PATH",
                remedy="make spark-setup",
            )
        command = [submit, "--master", self.master, "--name", order.name, str(JOB), "--order", uri]
        # The Python that the launching script is beside of: it has PySpark's own version, and dagster-pipes.
        python = Path(submit).with_name("python")
        env = {"PYSPARK_PYTHON": str(python)} if python.is_file() else {}
        try:
            dg.PipesSubprocessClient(env=env).run(context=self.context, command=command)
        except dg.DagsterPipesExecutionError as error:
            raise EngineError(
                f"the Spark job of {order.name} has failed: {error}",
                expected="a job that ends with a manifest; nothing was committed",
                remedy=f"look at the run's own output above, and at the cluster {self.master}; the next run starts anew",
            ) from error
