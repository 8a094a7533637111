"""`lakehouse lag`: how far each dataset is behind, and how long until events are lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.ingest.horizon import Horizon

_STYLES = {"safe": "green", "soon": "yellow", "unknown": "yellow", "lost": "bold red"}


def lag(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None, as_json: AsJson = False
) -> None:
    """Show lag and time to loss of each dataset; exit with 1 if events are lost or a topic is another one."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.ingest.horizon import horizons
    from dagster_project.lake.storage import Storage
    from dagster_project.services.kafka import bootstrap_servers

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    chosen = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    found = horizons(chosen, storage=Storage.at(settings.lake_uri), bootstrap_servers=bootstrap_servers(settings))
    if as_json:
        print_json(found if dataset is None else found[0])
    else:
        _show(found)
    if any(horizon.state == "lost" for horizon in found):
        raise typer.Exit(1)


def _show(found: list[Horizon]) -> None:
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for name in ("dataset", "state", "lag", "time to loss", "first unread", "retention"):
        table.add_column(name, justify="right" if name in {"lag", "time to loss", "retention"} else "left")
    for horizon in found:
        known = horizon.state != "unknown"
        table.add_row(
            horizon.dataset,
            horizon.state,
            "?" if horizon.lag < 0 else f"{horizon.lag:,}",
            _duration(horizon.seconds) if known else "?",
            "" if horizon.partition is None else f"partition {horizon.partition}, offset {horizon.offset}",
            _duration(horizon.retention_s) if known else "?",
            style=_STYLES[horizon.state],
        )
    console.print(table)
    for horizon in found:
        if horizon.found:
            console.print(
                f"\n{horizon.dataset}: {horizon.found}\n  to do: {horizon.to_do}", markup=False, soft_wrap=True
            )
        if horizon.by_size:
            console.print(f"\n{horizon.topic} is bounded by size too: loss may come earlier", style="yellow")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    if seconds <= 0:
        return "any moment"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:  # two units and more: one alone is too coarse
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
