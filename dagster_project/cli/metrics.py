"""`lakehouse metrics`: what Prometheus is told."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.exposing import BehindTls, TlsCert, TlsKey
from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.cli.signals import end_as_service
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.metrics.exporter import Exporter

app = typer.Typer(help="Metrics for Prometheus, from committed state.", no_args_is_help=True)
# Of OpenTelemetry's exporters for Prometheus, which people look for metrics at.
PORT = 9464


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="0 for a free one.")] = PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any other than this machine's own needs a token and TLS.")
    ] = "127.0.0.1",
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    behind_tls: BehindTls = False,
) -> None:
    """Serve /metrics until Ctrl-C, where LAKEHOUSE_METRICS_TOKEN is set to whom has it; nothing is lost when this ends."""
    from dagster_project.metrics.serve import serving
    from dagster_project.services import guard
    from dagster_project.services.exposed import Exposed
    from dagster_project.variables.variables import Variables

    end_as_service()
    guard.end_with_supervisor()
    exposed = Exposed(
        what="the exporter",
        variable="LAKEHOUSE_METRICS_TOKEN",
        host=host,
        token=Variables.read().lakehouse_metrics_token.get_secret_value(),
        certificate=tls_cert,
        key=tls_key,
        behind_tls=behind_tls,
    )
    with serving(_exporter(), exposed=exposed, port=port) as listening:
        progress(f"Metrics: {'http' if tls_cert is None else 'https'}://{host}:{listening}/metrics; Ctrl-C ends")
        while True:  # Ctrl-C may come to a library's thread; this one hears of it when it wakes up
            time.sleep(1)


@app.command()
def show(as_json: AsJson = False) -> None:
    """Print all metrics once, however long the sources take; exit with 1 if one does not answer."""
    exporter = _exporter()
    samples = exporter.samples(patience=None)
    if as_json:
        print_json(
            [
                {"name": family.name, "labels": dict(zip(family.labels, labels, strict=True)), "value": float(value)}
                for family, labels, value in samples
            ]
        )
    else:
        console.print(exporter.text(samples), end="", markup=False, soft_wrap=True)
    if exporter.silent():
        raise typer.Exit(1)


def _exporter() -> Exporter:
    from functools import partial

    from dagster_project.contract.loader import load_catalog
    from dagster_project.launcher.history import failures
    from dagster_project.metrics.exporter import Exporter
    from dagster_project.metrics.sources import sources
    from dagster_project.services.orchestrator import instance_home

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    return Exporter(sources(catalog, settings, failures=partial(failures, instance_home(settings))))
