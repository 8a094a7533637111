"""`lakehouse trace`: what became of one event."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, Reveal, console, print_json
from dagster_project.errors import ServiceError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.tracing.story import Event, Journey, Step

# As wide as a time to the millisecond, and two spaces.
_INDENT = 25
# Of a run's id, as Dagster's UI shows it.
_SHORT = 8


def trace(
    what: Annotated[
        str,
        typer.Argument(
            metavar="ID|TOPIC/PARTITION/OFFSET|KEY=VALUE",
            help="A correlation id; the place of a message; or a merge key, of several columns as a=1,b=2.",
        ),
    ],
    dataset: Annotated[str | None, typer.Option(help="Look only there.")] = None,
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Tell the whole journey of an event, from Kafka to the marts, and where it is now."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.serving.cache import Cache
    from dagster_project.tracing.journey import trace as follow

    settings = Settings.from_environment()
    try:
        servers = bootstrap_servers(settings)
    except ServiceError:  # the tables tell what they know all the same, and the journey says what is missing
        servers = None
    journey = follow(
        what,
        catalog=load_catalog(settings.contracts),
        storage=Storage.at(settings.lake_uri),
        kafka=servers,
        cache=Cache.of(settings),
        dataset=dataset,
        reveal=reveal,
    )
    if as_json:
        print_json(journey)
    else:
        _show(journey)


def _show(journey: Journey) -> None:
    for event in journey.events:
        _tell(event)
    if journey.more:
        console.print(f"{journey.more:,} more events are not shown: name one by its key or its place", style="yellow")
    for note in journey.notes:
        console.print(note, style="yellow", markup=False, soft_wrap=True)


def _tell(event: Event) -> None:
    console.print(f"{event.topic}/{event.partition}/{event.offset}", style="bold", markup=False, soft_wrap=True)
    about = [event.kind or "", *(f"{name}={value}" for name, value in event.key.items())]
    if event.event_time is not None:
        about.append(f"of {_time(event.event_time)} in {event.region}")
    if event.late_s is not None:
        about.append(f"late by {dt.timedelta(seconds=round(event.late_s))}")
    _line("", ", ".join(filter(None, about)))
    if event.correlation_id is not None:
        _line("", f"correlation id {event.correlation_id}")
    _line("", f"now {event.now}", style="bold green" if event.place == "silver_rows" else "bold yellow")
    for step in event.steps:
        _line("" if step.at is None else _time(step.at), _title(step), style="cyan")
        _line("", step.text)
    console.print()


def _title(step: Step) -> str:
    version = "" if step.version is None else f", version {step.version}"
    run = f", run {step.run[:_SHORT]}" if step.run else ""
    return f"{step.stage}: {step.where}{version}{run}"


def _line(left: str, text: str, style: str | None = None) -> None:
    if text:
        console.print(f"  {left:{_INDENT}}{text}", style=style, markup=False, soft_wrap=True)


def _time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
