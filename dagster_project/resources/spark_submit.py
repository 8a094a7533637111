"""Spark jobs on any cluster that `spark-submit` knows."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError  # has no public name

from dagster_project.errors import ConfigurationError
from dagster_project.resources.spark_pipes import failed, told
from dagster_project.settings import REPOSITORY
from dagster_project.spark.code import JOB
from dagster_project.spark.order import Order

# Where `make spark-setup` puts PySpark; any other is looked for on the path.
_OWN = REPOSITORY / ".venv-spark" / "bin"


@dataclass(frozen=True, kw_only=True)
class Submit:
    """`spark-submit`, with the driver beside this process; what else a cluster wants is in its `spark-defaults.conf`."""

    context: dg.OpExecutionContext
    master: str

    def __call__(self, uri: str, order: Order) -> Mapping[str, Any]:
        """Run the job of an order; what it reports.

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
            return told(dg.PipesSubprocessClient(env=env).run(context=self.context, command=command))
        except DagsterPipesExecutionError as error:
            raise failed(order, error, f"the cluster {self.master}") from error
