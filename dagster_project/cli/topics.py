"""`lakehouse topics plan|apply|check|rights`: the cluster's topics against the contracts, and who may do what with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.topics.plan import Step

app = typer.Typer(help="Kafka topics, as the contracts want them.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def plan(as_json: AsJson = False) -> None:
    """Show what `apply` would do."""
    _, steps = _plan()
    _show(steps, as_json=as_json)


@app.command()
def apply(as_json: AsJson = False) -> None:
    """Create missing topics, add partitions, correct settings. Takes nothing away; can be repeated."""
    from dagster_project.topics import admin

    servers, steps = _plan()
    for step in steps:
        admin.apply(step, bootstrap_servers=servers)
    _show(steps, as_json=as_json)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Exit with 1 unless every topic is as its contract says."""
    _, steps = _plan()
    _show(steps, as_json=as_json)
    if any(step.action != "keep" for step in steps):
        raise typer.Exit(1)


@app.command()
def rights(as_json: AsJson = False) -> None:
    """Print what each component may do in Kafka, as calls of Kafka's own tool. Asks no broker."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.topics.rights import commands
    from dagster_project.topics.rights import rights as needed

    entries = needed(load_catalog(Settings.from_environment().contracts).datasets)
    if as_json:
        print_json(entries)
        return
    for line in commands(entries):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _plan() -> tuple[str, list[Step]]:
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.topics import admin, derived

    settings = Settings.from_environment()
    topics = derived.wanted(load_catalog(settings.contracts).datasets)
    servers = bootstrap_servers(settings)
    return servers, admin.plan_all(topics, bootstrap_servers=servers)


def _show(steps: list[Step], *, as_json: bool) -> None:
    if as_json:
        print_json(steps)
        return
    for step in steps:
        colour = {"keep": "green", "refuse": "red"}.get(step.action, "yellow")
        line = f"{step.action:9} {step.topic}: {step.partitions} partitions, {step.replication_factor} replicas"
        console.print(line, style=colour, markup=False, soft_wrap=True)
        for note in step.notes:
            console.print(f"          {note}", style="dim", markup=False, soft_wrap=True)
