"""`lakehouse up`, `down` and `status`: the local Kafka cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.services.kafka import Status


def up(
    brokers: Annotated[
        int | None,
        typer.Option(help="1, or 3 for replication; by default as many as there were, 1 the first time."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Start Kafka on this machine, or what of it is not running."""
    from dagster_project.services import kafka

    _show(kafka.up(Settings.from_environment(), brokers=brokers, report=progress), as_json=as_json)


def down(as_json: AsJson = False) -> None:
    """Stop the Kafka that `lakehouse up` started; its data is kept."""
    from dagster_project.services import kafka

    _show(kafka.down(Settings.from_environment(), report=progress), as_json=as_json)


def status(as_json: AsJson = False) -> None:
    """Show which services run, and where."""
    from dagster_project.services import kafka

    _show(kafka.status(Settings.from_environment()), as_json=as_json)


def _show(kafka: Status, *, as_json: bool) -> None:
    if as_json:
        print_json({"kafka": kafka})
        return
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
