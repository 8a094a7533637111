"""`lakehouse produce`: send events to a dataset's topic, exactly once."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, print_json
from dagster_project.cli.retail import retail
from dagster_project.cli.sender import Sender, figures, send_all, tell
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Dataset
    from dagster_project.sources.source import Source

app = typer.Typer(
    name="produce",
    help="Send events to a dataset's topic, exactly once: the same command again sends only what is missing.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

app.command()(retail)

Rate = Annotated[float | None, typer.Option(min=0.001, help="Events per second; by default as fast as possible.")]
Live = Annotated[bool, typer.Option("--live", help="Event times are now. Each live run is a stream of its own.")]


@app.command()
def flights(
    limit: Annotated[int | None, typer.Option(min=0, help="Stop after this many of the 336,776 flights.")] = None,
    rate: Rate = None,
    live: Live = False,
    as_json: AsJson = False,
) -> None:
    """Send the flights that left New York in 2013."""
    from dagster_project.sources.flights import Flights

    settings = Settings.from_environment()
    source = Flights(dataset=_dataset(settings, "flights"), live_since=dt.datetime.now(dt.UTC) if live else None)
    _publish(settings, source, rate=rate, limit=limit, as_json=as_json)


@app.command()
def orders(
    events: Annotated[int, typer.Option(min=0, help="How many, trouble included.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same events.")] = 0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Fraction of events that were sent before.")] = 0.05,
    late: Annotated[float, typer.Option(min=0, max=1, help="Fraction beyond the allowed lateness.")] = 0.03,
    poison: Annotated[float, typer.Option(min=0, max=1, help="Fraction that must be quarantined.")] = 0.005,
    rate: Rate = None,
    live: Live = False,
    as_json: AsJson = False,
) -> None:
    """Send made-up order events, with trouble of which the oracle knows."""
    from dagster_project.sources.orders import DEFAULT_START, Orders

    settings = Settings.from_environment()
    source = Orders(
        dataset=_dataset(settings, "orders"),
        events=events,
        seed=seed,
        duplicates=duplicates,
        late=late,
        poison=poison,
        start=dt.datetime.now(dt.UTC) if live else DEFAULT_START,
        live=live,
    )
    _publish(settings, source, rate=rate, limit=None, as_json=as_json)


@app.command("file")
def sample(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset, as in its contract.")],
    path: Annotated[Path, typer.Option("--from", help="A file with one JSON object a line.")],
    rate: Rate = None,
    as_json: AsJson = False,
) -> None:
    """Send hand-written events; what is no JSON object goes as it is, to be quarantined."""
    from dagster_project.sources.ndjson import Sample

    settings = Settings.from_environment()
    _publish(settings, Sample.read(_dataset(settings, dataset), path), rate=rate, limit=None, as_json=as_json)


def _dataset(settings: Settings, name: str) -> Dataset:
    from dagster_project.contract.loader import load_catalog

    return load_catalog(settings.contracts).dataset(name)


def _publish(settings: Settings, source: Source, *, rate: float | None, limit: int | None, as_json: bool) -> None:
    from dagster_project.services.kafka import bootstrap_servers

    end = len(source) if limit is None else min(limit, len(source))
    (done,) = send_all([Sender(source, settings, bootstrap_servers(settings), rate=rate, limit=end)], [end])
    if as_json:
        print_json(figures(done))
    else:
        tell(done)
