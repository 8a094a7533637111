"""`lakehouse rebuild`: make again what was made before, from a layer on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dagster_project.cli.output import AsJson, console, error_console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_project.lifecycle.rebuild import Choice, Origin, Rebuilt


def rebuild(
    name: Annotated[str, typer.Argument(metavar="NAME", help="With gold a mart, else a dataset.")],
    origin: Annotated[
        Literal["gold", "silver", "bronze"], typer.Option("--from", help="The first layer that is made again.")
    ],
    dates: Annotated[str, typer.Option(help="A date, or the first and the last one: 2026-01-01..2026-01-31.")] = "",
    regions: Annotated[str, typer.Option(help="With commas: eu,us.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a rectangle again: a mart from what it reads, or Silver from Bronze with all marts that come from it.

    Without dates and regions all of it. With bronze, the payloads that Bronze has are decoded again first; the broker is not
    asked for them, as Bronze is the record of what it gave.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from dagster_project.lake.keys import in_words

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    done: list[Rebuilt] = []
    with Progress(*columns, console=error_console, transient=True) as bar:
        total, steps = _steps(name, origin, dates, regions, lambda what: bar.update(step, description=what))
        step = bar.add_task(name, total=total)
        for item in steps:
            done.append(item)
            bar.advance(step)
    if as_json:
        print_json(
            [
                {"table": item.table, "made": len(item.made), "changed": in_words(item.changed, regions=item.regions)}
                for item in done
            ]
        )
        return
    for item in done:
        other = (
            f"other rows in {in_words(item.changed, regions=item.regions)}" if item.changed else "the same as before"
        )
        console.print(
            f"{item.table}: {len(item.made):,} table partitions, {other}",
            style="yellow" if item.changed else None,
            markup=False,
            soft_wrap=True,
        )


def _steps(
    name: str, origin: Origin, dates: str, regions: str, report: Callable[[str], None]
) -> tuple[int, Iterator[Rebuilt]]:
    """What is done, table by table, and how many tables there are."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage
    from dagster_project.lifecycle.rebuild import rebuild_dataset, rebuild_mart
    from dagster_project.services.registry import registry_of

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    storage = Storage.at(settings.lake_uri)
    if origin == "gold":
        mart = catalog.mart(name)
        choice = _choice(dates, regions, known=mart.regions)
        steps = rebuild_mart(mart, choice, catalog=catalog, storage=storage, report=report)
        return 1 + len(catalog.readers(name)), steps
    dataset = catalog.dataset(name)
    registry = registry_of(dataset, settings) if origin == "bronze" else ""
    steps = rebuild_dataset(
        dataset,
        _choice(dates, regions, known=dataset.regions),
        origin,
        catalog=catalog,
        storage=storage,
        report=report,
        registry=registry,
    )
    return (origin == "bronze") + len(catalog.versions(dataset.name)) + len(catalog.marts_of(dataset.name)), steps


def _choice(dates: str, regions: str, *, known: tuple[str, ...]) -> Choice:
    import datetime as dt

    from dagster_project.errors import ConfigurationError
    from dagster_project.lifecycle.rebuild import Choice

    first, _, last = dates.partition("..")
    try:
        days = [dt.date.fromisoformat(day) for day in (first, last or first) if day]
    except ValueError as error:
        raise ConfigurationError(
            f"--dates {dates}: {error}", expected="2026-01-01, or 2026-01-01..2026-01-31", remedy="correct the option"
        ) from error
    chosen = tuple(filter(None, regions.split(",")))
    if strange := [region for region in chosen if region not in known]:
        raise ConfigurationError(
            f"--regions {regions}: {', '.join(strange)} is none of its regions",
            expected=f"some of {', '.join(known)}" if known else "no regions, as it is not partitioned by them",
            remedy="correct the option",
        )
    return Choice(first=days[0] if days else None, last=days[-1] if days else None, regions=chosen)
