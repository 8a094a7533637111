"""A standalone Spark cluster on this machine: one master and two workers, each a process of its own."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.services.ports import free_port
from tests.parity.session import PYTHON

_CLASS = PYTHON.with_name("spark-class")
_DEPLOY = "org.apache.spark.deploy"
# What a master and workers, an executor and a driver have at the most.
_DAEMON, _EXECUTOR, _DRIVER = "256m", "768m", "768m"
# Workers register within seconds; on a machine that does much else it takes longer.
_READY_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Attributes:
    master: as spark-submit knows it.
    environment: what a driver needs to find the settings that fit this machine.
    """

    master: str
    environment: dict[str, str]


@contextmanager
def standalone(folder: Path, *, workers: int = 2) -> Generator[Cluster]:
    """Start a cluster; its logs are in the folder."""
    port, page = free_port(), free_port()
    conf = folder / "conf"
    conf.mkdir(parents=True)
    settings = {
        "spark.driver.memory": _DRIVER,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.executor.memory": _EXECUTOR,
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
    }
    (conf / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    environment = {
        "PYSPARK_PYTHON": str(PYTHON),  # by which Spark's scripts find Spark
        "SPARK_CONF_DIR": str(conf),
        "SPARK_DAEMON_MEMORY": _DAEMON,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_WORKER_DIR": str(folder / "work"),
    }
    master = f"spark://127.0.0.1:{port}"
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            command = [str(_CLASS), *arguments]
            started.append(subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log))

    try:
        start(
            "master", f"{_DEPLOY}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", str(page)
        )
        for number in range(workers):
            of_worker = ("--host", "127.0.0.1", "--webui-port", "0", "-c", "1", "-m", "1g", master)
            start(f"worker-{number}", f"{_DEPLOY}.worker.Worker", *of_worker)
        _await(f"http://127.0.0.1:{page}/json/", workers)
        yield Cluster(master=master, environment=environment)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait()


def _await(url: str, workers: int) -> None:
    deadline = time.monotonic() + _READY_S
    alive = f'"aliveworkers" : {workers}'
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if alive in answer.read().decode():
                    return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"no {workers} workers within {_READY_S:.0f} s"
        time.sleep(0.5)
