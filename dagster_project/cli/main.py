"""The `lakehouse` command. Heavy libraries are imported in the bodies of commands, so that all others start at once."""

from __future__ import annotations

from typing import Any

import click
import typer
from typer.core import TyperGroup

from dagster_project.cli import (
    alerts,
    config,
    contract,
    cost,
    dashboard,
    demo,
    dev,
    dlq,
    forget,
    lag,
    loss,
    maintain,
    metrics,
    produce,
    quarantine,
    query,
    rebuild,
    release,
    retire,
    serve,
    services,
    slo,
    topics,
    trace,
    verify,
    watermarks,
)
from dagster_project.cli.output import error_console, print_error
from dagster_project.errors import LakehouseError

# As shells have it: 128 and the number of SIGINT.
_INTERRUPTED = 130


class _Commands(TyperGroup):
    """Commands whose expected failures end in a message and an exit code, not in a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LakehouseError as error:
            print_error(error)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as interrupt:
            error_console.print("interrupted", style="red")
            raise typer.Exit(_INTERRUPTED) from interrupt


app = typer.Typer(
    name="lakehouse",
    cls=_Commands,
    help="A contract-driven lakehouse: Kafka to Bronze, Silver and Gold, every offset accounted for.",
    no_args_is_help=True,
    # Plain help: Rich's brings a Markdown parser and a syntax highlighter, which double the time to start.
    rich_markup_mode=None,
    # A traceback is for a bug report; values of variables may be secrets.
    pretty_exceptions_show_locals=False,
)
app.command()(services.up)
app.command()(services.down)
app.command()(services.status)
app.add_typer(config.app, name="config")
app.add_typer(contract.app, name="contract")
app.add_typer(topics.app, name="topics")
app.add_typer(produce.app, name="produce")
app.add_typer(dlq.app, name="dlq")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(loss.app, name="loss")
app.add_typer(release.app, name="release")
app.add_typer(serve.app, name="serve")
app.add_typer(cost.app, name="cost")
app.add_typer(alerts.app, name="alerts")
app.command()(dev.dev)
app.command()(demo.demo)
app.command()(dashboard.dashboard)
app.command()(verify.verify)
app.command()(trace.trace)
app.command()(lag.lag)
app.command()(slo.slo)
app.command()(watermarks.watermarks)
app.add_typer(metrics.app, name="metrics")
app.command()(retire.retire)
app.command()(maintain.maintain)
app.command()(rebuild.rebuild)
app.command()(forget.forget)
app.command()(query.query)


def main() -> None:
    """The console entry point."""
    app()


if __name__ == "__main__":
    main()
