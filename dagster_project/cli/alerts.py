"""`lakehouse alerts`: what is wrong now, what was, and whether the sinks can be reached."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_error, print_json
from dagster_project.errors import ConfigurationError, LakeError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.alerts.alert import Alert
    from dagster_project.alerts.book import Book

app = typer.Typer(help="Alerts: open ones, their history, and their sinks.", rich_markup_mode=None)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_STYLES = {"critical": "bold red", "warning": "yellow"}


@app.callback(invoke_without_command=True)
def alerts(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="All transitions since then: 30m, 24h, 7d, or 2026-11-23T03:00.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show open alerts, the critical ones first; exit with 1 if there is any."""
    if context.invoked_subcommand is not None:
        return
    from dagster_project.alerts.config import load
    from dagster_project.alerts.deliver import troubles
    from dagster_project.alerts.journal import history
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    sinks = tuple(load(settings.project).sinks)
    if since is not None:
        rows = history(Storage.at(settings.lake_uri), _moment(since))
        if as_json:
            print_json(rows)
        elif rows:
            _show_history(rows)
        else:
            console.print("no alert began, went on or ended since then")
        return
    book = _book(settings, sinks)
    if as_json:
        print_json({"alerts": book.open, "sinks": book.sinks})
    elif book.open:
        _show(book.open)
    else:
        console.print("no open alerts")
    for trouble in troubles(book.sinks) if not as_json else []:
        console.print(trouble, style="yellow", markup=False, soft_wrap=True)
    if book.open:
        raise typer.Exit(1)


@app.command()
def test(sink: Annotated[str, typer.Argument(help="Name of a sink, as in alerts.yaml.")]) -> None:
    """Send a notification that says that it is a test; exit with 1 if the sink does not take it."""
    from dagster_project.alerts.config import load
    from dagster_project.alerts.message import message
    from dagster_project.alerts.trial import trial
    from dagster_project.errors import SinkError

    config = load(Settings.from_environment().project)
    if sink not in config.sinks:
        raise ConfigurationError(
            f"no sink {sink!r}", expected="one of " + ", ".join(config.sinks), remedy="see alerts.yaml of the project"
        )
    try:
        config.sinks[sink].send(message(trial(dt.datetime.now(dt.UTC)), runbooks=config.runbooks))
    except SinkError as error:
        raise SinkError(
            f"sink {sink}: {error.found}",
            expected="a sink that takes the notification",
            remedy="check its entry in alerts.yaml, the variables that it names, and the receiver's own log",
        ) from error
    console.print(f"sink {sink} has taken the notification")


def _book(settings: Settings, sinks: tuple[str, ...]) -> Book:
    """The state of alerts: the lake's, or while it does not answer this machine's own copy."""
    from dagster_project.alerts import journal, local
    from dagster_project.alerts.watch import local_path
    from dagster_project.lake.storage import Storage

    try:
        return journal.read(Storage.at(settings.lake_uri), sinks)
    except LakeError as error:
        path = local_path(settings.home)
        if not path.exists():
            raise
        print_error(LakeError(error.found, remedy=f"what follows is this machine's copy, {path}"))
        return local.load(path).book.using(sinks)


def _moment(text: str) -> dt.datetime:
    if match := re.fullmatch(r"(\d+)([mhd])", text):
        return dt.datetime.now(dt.UTC) - dt.timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"--since {text}", expected="such as 30m, 24h, 7d, or 2026-11-23T03:00", remedy="write one of these"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _show(found: tuple[Alert, ...]) -> None:
    for alert in found:
        console.print(f"{alert.severity}: {alert.id}", style=_STYLES[alert.severity], markup=False)
        facts = {
            "what": alert.summary,
            "since": f"{alert.since:%Y-%m-%d %H:%M:%S} UTC",
            "look": alert.command,
            "runbook": alert.runbook,
            "left over from": alert.cause,
            "follows from it": ", ".join(alert.folded),
            "correlation id": alert.correlation_id,
        }
        for name, value in facts.items():
            if value:
                console.print(f"  {name:<16} {value}", markup=False, soft_wrap=True)


def _show_history(rows: tuple[Alert, ...]) -> None:
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False)
    for name in ("at (UTC)", "state", "severity", "alert", "what"):
        table.add_column(name, no_wrap=name != "what")
    for row in rows:
        style = "green" if not row.is_open else _STYLES[row.severity]
        table.add_row(f"{row.at:%Y-%m-%d %H:%M:%S}", row.state, row.severity, str(row.id), row.summary, style=style)
    console.print(table)
