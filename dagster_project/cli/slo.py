"""`lakehouse slo`: what was promised, what was kept, and how much of the error budget is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.slo.status import Objective


def slo(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset.")] = None, as_json: AsJson = False
) -> None:
    """Show each objective with its error budget; exit with 1 if one burns too fast or is overspent."""
    import datetime as dt

    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage
    from dagster_project.slo.status import status

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    name = None if dataset is None else catalog.dataset(dataset).name
    found = [
        one
        for one in status(catalog, storage=Storage.at(settings.lake_uri), now=dt.datetime.now(dt.UTC))
        if name in {None, one.dataset}
    ]
    if as_json:
        print_json(found)
    else:
        _show(found)
    if any(one.burning or one.budget_left < 0 for one in found):
        raise typer.Exit(1)


def _show(found: list[Objective]) -> None:
    from rich.table import Table

    if not found:
        console.print("nothing was measured yet: `lakehouse dev` or the daemon measures every 20 s")
        return
    table = Table(show_edge=False, pad_edge=False)
    left = ("dataset", "objective", "region", "state")
    for column in (*left[:3], "now", "bound", "target", "attained", "budget left", "burn 1h", "burn 6h", left[3]):
        table.add_column(column, justify="left" if column in left else "right", no_wrap=True)
    for one in found:
        state = _state(one)
        table.add_row(
            one.dataset,
            one.name,
            one.region or "",
            _value(one.value, one),
            "" if one.bound is None else _value(one.bound, one),
            "" if one.bound is None else f"{100 * one.target:.6g} %",
            "" if one.attained is None else f"{100 * one.attained:.3f} %",
            "" if one.bound is None else f"{100 * one.budget_left:.1f} %",
            f"{one.burn['1h']:.1f}" if one.bound is not None else "",
            f"{one.burn['6h']:.1f}" if one.bound is not None else "",
            state,
            style={"burning": "bold red", "overspent": "red", "not measured": "yellow"}.get(state),
        )
    console.print(table)
    console.print(f"measured last at {max(one.at for one in found):%Y-%m-%d %H:%M:%S} UTC", style="dim")


def _state(one: Objective) -> str:
    if one.burning:
        return "burning"
    if one.budget_left < 0:
        return "overspent"
    if one.value is None:
        return "not measured"
    return "kept" if one.bound is not None else "shown only"


def _value(value: float | None, one: Objective) -> str:
    if value is None:
        return "?"
    if one.unit == "share":
        return f"{100 * value:.6g} %"
    if one.unit == "records":
        return f"{value:,.0f}"
    return f"{value:,.1f} s"
