"""`lakehouse dev`: services and Dagster's UI, with the sensors running."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from dagster_project.cli import metrics
from dagster_project.cli.output import error_console, progress
from dagster_project.cli.signals import end_as_ctrl_c
from dagster_project.settings import Settings

_PORT = 3000  # where people expect Dagster's UI
_LOOK_S = 1.0  # how soon a person learns that supervision has given up


def dev(port: Annotated[int | None, typer.Option(help="Of the UI; by default 3000, or a free one.")] = None) -> None:
    """Start Kafka and a cache, create the contracts' topics, and run Dagster with its UI and metrics until Ctrl-C."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services import cache, kafka, orchestrator, registry
    from dagster_project.services.ports import free_port, is_free
    from dagster_project.topics import admin, derived

    end_as_ctrl_c()
    settings = Settings.from_environment()
    settings.starts_services("dev")
    catalog = load_catalog(settings.contracts)
    topics = derived.wanted(catalog.datasets)
    kafka.up(settings, report=progress)
    if registry.is_needed(catalog.datasets):
        registry.up(settings, report=progress)
    cache.up(settings, report=progress)
    servers = kafka.bootstrap_servers(settings)
    for step in admin.plan_all(topics, bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    chosen = port or (_PORT if is_free(_PORT) else free_port())
    told = metrics.PORT if is_free(metrics.PORT) else free_port()
    with (
        orchestrator.alone(settings),
        orchestrator.running(settings, ui_port=chosen, metrics_port=told) as orchestra,
    ):
        error_console.print(f"Dagster's UI: http://127.0.0.1:{chosen}", style="bold green", soft_wrap=True)
        progress(f"Metrics: http://127.0.0.1:{told}/metrics")
        progress(f"Logs: {orchestra.logs}; Ctrl-C ends")
        while True:
            orchestra.check()
            time.sleep(_LOOK_S)
