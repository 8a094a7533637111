"""Starting the process of one Kafka broker."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services import daemon
from dagster_project.services.cluster import Broker, Cluster, properties
from dagster_project.services.java import KAFKA

# Formatting takes a second or two; a busy machine, some more.
_FORMAT_SECONDS = 60.0
# No optimizing compiler: it takes 3 of the 7.5 s of processor time that a start costs, and what a broker does here,
# up to some million records, costs no more without it.
_OPTIONS = ("-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={KAFKA / 'log4j2.yaml'}")
# Plenty for development, and three fit beside everything else. A broker out of memory is of no use half alive.
_BROKER_OPTIONS = ("-Xmx512m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", *_OPTIONS)


def environment() -> dict[str, str]:
    """That of this process; Java reads file names as UTF-8 in it, whatever the user's language."""
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def format_storage(cluster: Cluster, broker: Broker, *, java: Path, class_path: str) -> None:
    """Give the broker an empty log of the cluster's format, unless it has one. Whole or not at all.

    Raises:
        ServiceError: Kafka refuses.
    """
    if broker.data.exists():
        return
    if "," in str(broker.data):
        raise ServiceError(
            f"the path {broker.data} has a comma",
            expected="a path without one: Kafka takes it for a list of folders",
            remedy="set LAKEHOUSE_HOME to another folder",
        )
    unfinished = broker.folder / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    broker.folder.mkdir(parents=True, exist_ok=True)
    config = broker.folder / "format.properties"
    config.write_text(properties(cluster, broker, data=unfinished))
    tool = _command(java, _OPTIONS, class_path, "kafka.tools.StorageTool")
    try:
        subprocess.run(
            [*tool, "format", "--config", str(config), "--cluster-id", cluster.id],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_FORMAT_SECONDS,
            env=environment(),
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise ServiceError(f"Kafka cannot format {unfinished}: {error}\n{error.stdout or ''}".strip()) from error
    config.unlink()
    unfinished.rename(broker.data)


def launch(cluster: Cluster, broker: Broker, *, java: Path, class_path: str) -> Broker:
    """Start the broker's process on its formatted data; returns it with its new process."""
    broker.properties.write_text(properties(cluster, broker, data=broker.data))
    marker = str(broker.properties)
    command = [*_command(java, _BROKER_OPTIONS, class_path, "kafka.Kafka"), marker]
    return replace(broker, daemon=daemon.spawn(command, marker=marker, log=broker.log, environment=environment()))


def _command(java: Path, options: Sequence[str], class_path: str, main: str) -> list[str]:
    return [str(java), *options, "-cp", class_path, main]
