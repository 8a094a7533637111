"""`lakehouse serve`: what the cache has of each mart, and filling it anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.serving.status import Copy, Status

app = typer.Typer(help="What is served from the cache, and from Gold where that is newer.", no_args_is_help=True)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Compare the cache with Gold, mart by mart; exit with 1 if a copy is behind or the cache does not answer."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage
    from dagster_project.serving.cache import Cache
    from dagster_project.serving.status import status as compared

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    found = compared(catalog, storage=Storage.at(settings.lake_uri), cache=Cache.of(settings))
    if as_json:
        print_json(found)
    else:
        _show(found)
    if found.state == "unavailable" or (found.address and not all(copy.current for copy in found.marts)):
        raise typer.Exit(1)


@app.command()
def rebuild(
    mart: Annotated[str | None, typer.Argument(metavar="[MART]", help="By default all that are served.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take marts out of the cache and fill it from Gold, which is not computed anew; exit with 1 if that fails."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.errors import ConfigurationError
    from dagster_project.lake import specs
    from dagster_project.lake.storage import Storage
    from dagster_project.lake.table import Table
    from dagster_project.serving.cache import Cache
    from dagster_project.serving.entry import drop
    from dagster_project.serving.publish import publish

    settings = Settings.from_environment()
    catalog, storage, cache = load_catalog(settings.contracts), Storage.at(settings.lake_uri), Cache.of(settings)
    chosen = [item for item in catalog.marts if item.serve] if mart is None else [catalog.mart(mart)]
    for item in chosen:
        if item.serve is None:
            raise ConfigurationError(
                f"{item.name} is not served",
                expected="a mart with customProperty serve",
                remedy=f"add {{property: serve, value: true}} to {item.source}",
            )
    drop([item.name for item in chosen], cache=cache)
    done = [
        publish(item, gold, cache=cache)
        for item in chosen
        if (gold := Table.find(specs.gold(item), storage=storage)) is not None
    ]
    if as_json:
        print_json(done)
    else:
        for one in done:
            console.print(f"{one.mart}: {one}", markup=False, soft_wrap=True)
        if not done:
            progress("Gold has nothing yet")
    if any(one.state == "unavailable" for one in done):
        raise typer.Exit(1)


def _show(found: Status) -> None:
    from rich.table import Table

    if not found.address:
        console.print("Cache: never started; run `lakehouse up`, or set REDIS_URL", markup=False)
        return
    since = "" if found.since is None else f" since {found.since:%Y-%m-%d %H:%M:%S} UTC"
    console.print(
        f"Cache: {found.address}, {found.state}{since}, breaker {found.breaker}", markup=False, soft_wrap=True
    )
    if found.reason:
        console.print(found.reason, style="yellow", markup=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for name in ("mart", "Gold", "cache", "", "since (UTC)", "rows"):
        table.add_column(name, justify="right" if name in {"Gold", "cache", "rows"} else "left", no_wrap=True)
    for copy in found.marts:
        state = _state(copy, available=found.state == "available")
        since = copy.published_at if copy.current else None if state == "unknown" else copy.behind_since
        table.add_row(
            copy.mart,
            "" if copy.gold < 0 else str(copy.gold),
            "" if copy.cached < 0 else str(copy.cached),
            state,
            "" if since is None else f"{since:%Y-%m-%d %H:%M:%S}",
            f"{copy.rows:,}{'' if copy.whole else ' newest'}" if copy.rows else "",
            style=None if copy.current else "yellow",
        )
    console.print(table)


def _state(copy: Copy, *, available: bool) -> str:
    if copy.gold < 0:
        return "empty"
    if copy.current:
        return "current" if copy.rows or copy.whole else "too large"
    if not available:
        return "unknown"
    return "missing" if copy.cached < 0 else "behind"
