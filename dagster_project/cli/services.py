"""`lakehouse up`, `down` and `status`: the local Kafka cluster and cache, and the schema registry where a contract needs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.services.cache import CacheStatus
    from dagster_project.services.kafka import Status
    from dagster_project.services.registry import RegistryStatus


def up(
    brokers: Annotated[
        int | None,
        typer.Option(help="1, or 3 for replication; by default as many as there were, 1 the first time."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start Kafka and a cache on this machine, or what of them is not running; and a schema registry if a contract needs one."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services import cache, kafka, registry

    settings = Settings.from_environment()
    settings.starts_services("up")
    broker = kafka.up(settings, brokers=brokers, report=progress)
    needed = registry.is_needed(load_catalog(settings.contracts).datasets)
    there = registry.up(settings, report=progress) if needed else registry.status(settings)
    _show(broker, there, cache.up(settings, report=progress), as_json=as_json)


def down(as_json: AsJson = False) -> None:
    """Stop what `lakehouse up` started; its data is kept."""
    from dagster_project.services import cache, kafka, registry

    settings = Settings.from_environment()
    _show(kafka.down(settings, report=progress), registry.down(settings), cache.down(settings), as_json=as_json)


def status(as_json: AsJson = False) -> None:
    """Show which services run, and where."""
    from dagster_project.services import cache, kafka, registry

    settings = Settings.from_environment()
    _show(kafka.status(settings), registry.status(settings), cache.status(settings), as_json=as_json)


def _show(kafka: Status, registry: RegistryStatus, cache: CacheStatus, *, as_json: bool) -> None:
    beside = {name: status for name, status in (("registry", registry), ("cache", cache)) if status.url}
    if as_json:
        print_json({"kafka": kafka, **beside})
        return
    _show_kafka(kafka)
    for name, status in beside.items():
        title = {"registry": "Schema registry", "cache": "Cache"}[name]
        state = f"pid {status.pid}, log {status.log}" if status.pid else "stopped"
        line = f"{title}: {status.url}{f', {state}' if status.managed else ''}"
        console.print(line, style="green" if status.pid else None, markup=False, soft_wrap=True)


def _show_kafka(kafka: Status) -> None:
    if not kafka.bootstrap_servers:
        console.print("Kafka: never started; run `lakehouse up`", markup=False)
        return
    runs = not kafka.managed or any(broker.pid for broker in kafka.brokers)
    state = f"cluster {kafka.cluster_id}" if kafka.cluster_id else "does not answer" if runs else "stopped"
    console.print(f"Kafka: {kafka.bootstrap_servers}, {state}", markup=False, soft_wrap=True)
    for broker in kafka.brokers:
        condition = "stopped" if broker.pid is None else "in service" if broker.in_service else "not in service"
        process = f", pid {broker.pid}" if broker.pid else ""
        line = f"  broker {broker.id}: {broker.address}, {condition}{process}, log {broker.log}"
        console.print(line, style="green" if broker.in_service else "yellow", markup=False, soft_wrap=True)
