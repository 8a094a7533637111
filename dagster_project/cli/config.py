"""`lakehouse config`: what is configured, where it was said, and whether everything that it names answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from dagster_project.cli.output import AsJson, console, print_json

if TYPE_CHECKING:
    from dagster_project.connections.connection import Outcome
    from dagster_project.variables.shown import Shown

app = typer.Typer(help="What is configured, and whether it works.", no_args_is_help=True)
_STYLES = {"ok": "green", "wrong": "red", "not configured": "dim"}


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show each variable: its value, secrets hidden, where it came from, and what it is for."""
    from dagster_project.variables.shown import shown
    from dagster_project.variables.variables import Variables

    found = shown(Variables.read())
    if as_json:
        print_json(found)
    else:
        _show(found)


@app.command()
def check(as_json: AsJson = False) -> None:
    """Connect to everything that is configured; exit with 1 if something is wrong, and say how to mend it."""
    from dagster_project.connections.everything import check as ask

    found = ask()
    if as_json:
        print_json(found)
    else:
        for one in found:
            _tell(one)
    if any(one.state == "wrong" for one in found):
        raise typer.Exit(1)


def _show(found: list[Shown]) -> None:
    for one in found:
        value = f" = {one.value}" if one.value else ""
        style = None if one.origin == "default" else "bold"
        console.print(f"{one.name}{value} ({one.origin})", style=style, markup=False, soft_wrap=True)
        console.print(f"    {one.purpose}", style="dim", markup=False, soft_wrap=True)


def _tell(one: Outcome) -> None:
    console.print(f"{one.name}: {one.state}", style=_STYLES[one.state], markup=False, soft_wrap=True)
    for title, text in (("", one.seen), ("", one.found), ("expected: ", one.expected), ("to do:    ", one.remedy)):
        if text:
            console.print(f"  {title}{text}", markup=False, soft_wrap=True)
