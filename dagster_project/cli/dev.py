"""`lakehouse dev`: services and Dagster's UI, with the sensors running."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import typer

from dagster_project.cli.output import error_console, progress
from dagster_project.settings import REPOSITORY, Settings

_PORT = 3000  # where people expect Dagster's UI


def dev(port: Annotated[int | None, typer.Option(help="Of the UI; by default 3000, or a free one.")] = None) -> None:
    """Start Kafka, create the contracts' topics, and run `dagster dev` until Ctrl-C."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services import kafka, orchestrator
    from dagster_project.services.ports import free_port, is_free
    from dagster_project.topics import admin

    settings = Settings.from_environment()
    topics = [dataset.topic for dataset in load_catalog(settings.contracts).datasets]
    kafka.up(settings, report=progress)
    servers = kafka.bootstrap_servers(settings)
    for step in admin.plan_all(topics, bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    chosen = port or (_PORT if is_free(_PORT) else free_port())
    error_console.print(f"Dagster's UI: http://127.0.0.1:{chosen}", style="bold green", soft_wrap=True)
    workspace = str(REPOSITORY / "workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", "127.0.0.1", "-p", str(chosen)]
    with orchestrator.alone(settings):
        process = subprocess.Popen(command, env=orchestrator.prepare(settings))
        try:
            code = process.wait()
        except KeyboardInterrupt:  # reaches Dagster too, which ends its processes in order
            code = process.wait()
    raise typer.Exit(code)
