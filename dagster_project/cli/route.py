"""`lakehouse cost route`: which engine works on each dataset and mart, and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.errors import ConfigurationError, LakehouseError
from dagster_project.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Catalog
    from dagster_project.cost.routing import Routed

_GIB = 2**30


def route(
    names: Annotated[list[str] | None, typer.Argument(metavar="[DATASET|MART …]", help="Only these.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="auto, local, spark, glue or emr; what LAKEHOUSE_ENGINE says, if not given.")
    ] = None,
    cores: Annotated[
        float | None, typer.Option(min=0.1, help="Of the machine; those of this one, if not given.")
    ] = None,
    memory_gib: Annotated[float | None, typer.Option(min=0.1, help="Of the machine; this one's, if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show where each dataset and mart would be worked on now: in-process, on Glue or on EMR, and why."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.cost.demand import demands
    from dagster_project.cost.prices import load_prices
    from dagster_project.cost.router import wanted
    from dagster_project.cost.routing import Asked, routed, this_machine
    from dagster_project.cost.throughput import of_benchmark
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    chosen = _chosen(names or [], catalog)
    text, by = (engine, "--engine") if engine is not None else (settings.engine, "LAKEHOUSE_ENGINE")
    asked = Asked(engine=wanted(text, by=by), by=by)
    results = REPOSITORY / "benchmarks" / "results" / "latest.json"
    found, busy = demands(
        catalog,
        storage=Storage.at(settings.lake_uri),
        benchmark=of_benchmark(results) if results.exists() else None,
        now=dt.datetime.now(dt.UTC),
        lag=_lag(catalog, settings),
    )
    machine = replace(this_machine(), busy=busy)
    machine = replace(
        machine,
        cores=machine.cores if cores is None else cores,
        memory_bytes=machine.memory_bytes if memory_gib is None else memory_gib * _GIB,
    )
    everything = {
        one.demand.name: one
        for one in routed(
            found,
            load_prices(settings.prices),
            machine=machine,
            asked={one.name: asked for one in found},
        )
    }
    shown = [everything[name] for name in chosen]
    if as_json:
        print_json({"machine": machine, "routes": shown})
    else:
        _show(shown)


def _chosen(names: list[str], catalog: Catalog) -> list[str]:
    known = [*(dataset.table for dataset in catalog.every_version()), *(mart.name for mart in catalog.marts)]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"no dataset or mart {name!r}", expected=f"one of {', '.join(known)}", remedy="name one of these"
            )
    return names or known


def _lag(catalog: Catalog, settings: Settings) -> dict[str, int]:
    """Messages that Bronze has not read; nothing where the broker does not say."""
    from dagster_project.ingest.horizon import horizons
    from dagster_project.lake.storage import Storage
    from dagster_project.services.kafka import bootstrap_servers

    try:
        found = horizons(
            catalog.datasets, storage=Storage.at(settings.lake_uri), bootstrap_servers=bootstrap_servers(settings)
        )
    except LakehouseError as error:
        progress(f"what waits in Kafka is not counted: {error.found}")
        return {}
    return {horizon.dataset: horizon.lag for horizon in found if horizon.lag > 0}


def _show(found: list[Routed]) -> None:
    from rich.table import Table

    table = Table(title="engines, dollars a day", title_justify="left")
    columns = ("", "engine", "rows a day", "waiting", "µs a row", "holds up to", "in-process", "Glue", "EMR", "even at")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=True)  # noqa: PLR2004 two of text
    for one in found:
        demand, route = one.demand, one.route
        table.add_row(
            demand.name,
            route.engine,
            f"{demand.events:,.0f}",
            f"{demand.backlog:,.0f}" if demand.backlog else "",
            f"{demand.core_us:.1f}" if demand.measured else f"({demand.core_us:.1f})",
            f"{route.grows:,.3g} ×" if route.grows != float("inf") else "",
            *("?" if usd is None else f"{usd:,.2f}" for usd in route.usd_per_day.values()),
            "" if route.even_h is None else f"{route.even_h:.1f} h",
        )
    console.print(table)
    for one in found:
        console.print(f"{one.demand.name}: {one.route.why}", markup=False, soft_wrap=True)
