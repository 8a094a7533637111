"""Where Spark jobs run, as a Dagster resource: each is launched through Dagster Pipes, so that the run has its logs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import dagster as dg

from dagster_project.contract.model import Mart
from dagster_project.errors import ConfigurationError
from dagster_project.lake.storage import Storage
from dagster_project.refine.engine import Engine
from dagster_project.refine.gold import LocalEngine
from dagster_project.resources.spark_aws import Emr, EmrServerless, Glue
from dagster_project.resources.spark_submit import Submit
from dagster_project.spark.engine import SparkEngine


class SparkResource(dg.ConfigurableResource["SparkResource"]):
    """Computes marts whose contract says `engine: spark`, where `LAKEHOUSE_SPARK` says."""

    where: str = ""

    def engine(
        self, mart: Mart, *, storage: Storage, context: dg.AssetExecutionContext | dg.OpExecutionContext
    ) -> Engine:
        """What computes a mart.

        Raises:
            ConfigurationError: its contract says Spark, and there is none.
        """
        if mart.engine == "local":
            return LocalEngine()
        if isinstance(context, dg.AssetExecutionContext):
            context = context.op_execution_context  # of the other one Pipes itself uses what is deprecated
        where = urlsplit(self.where)
        role, bucket = (parse_qs(where.query).get(name, [""])[0] for name in ("role", "bucket"))
        match where.scheme:
            case "emr-serverless" if where.netloc and role:
                return SparkEngine(
                    name="emr",
                    launch=EmrServerless(context=context, storage=storage, application=where.netloc, role=role),
                )
            case "glue" if where.netloc:
                return SparkEngine(name="glue", launch=Glue(context=context, storage=storage, job=where.netloc))
            case "emr" if where.path and bucket:
                launch = Emr(context=context, storage=storage, cluster=Path(where.path), bucket=bucket)
                return SparkEngine(name="emr", launch=launch)
            case "emr-serverless" | "glue" | "emr":
                pass
            case _ if self.where:
                # Hadoop's own client for S3 goes by this name.
                return SparkEngine(
                    name="spark", launch=Submit(context=context, master=self.where), schemes={"s3": "s3a"}
                )
            case _:
                pass
        raise ConfigurationError(
            f"mart {mart.name} has engine: spark, and LAKEHOUSE_SPARK is {self.where or 'not set'}",
            expected="a master as spark-submit knows it (spark://host:7077, yarn, local[2], …), glue://<job>, "
            "emr-serverless://<application>?role=<arn of the role that jobs have>, or emr:///<file>?bucket=<for messages>",
            remedy="set it where the platform runs, see docs/spark.md, or take the line out of the contract",
        )
