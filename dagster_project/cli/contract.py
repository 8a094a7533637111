"""`lakehouse contract`: whether contracts are valid, and what a change of one means to those who use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.change import Change
    from dagster_project.contract.model import Catalog

app = typer.Typer(help="Data contracts: validity and change.", no_args_is_help=True, rich_markup_mode=None)
_File = Annotated[Path, typer.Argument(help="A contract, *.odcs.yaml.", show_default=False)]


@app.command()
def lint(as_json: AsJson = False) -> None:
    """Check all contracts of the project against the standard and the platform's rules; exit with 1 on any problem."""
    from dagster_project.contract.loader import load_catalog

    catalog = load_catalog(Settings.from_environment().contracts)
    contracts = [*catalog.every_version(), *catalog.marts]
    if as_json:
        print_json([{"name": item.name, "version": item.version, "source": item.source} for item in contracts])
        return
    for item in contracts:
        console.print(f"{item.name} {item.version}: valid, {len(item.columns)} columns", markup=False, soft_wrap=True)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Of the dataset: lower-case letters, digits and _.", show_default=False)],
    *,
    sample: Annotated[Path, typer.Option("--from", help="Sample messages, one JSON object a line.")],
    key: Annotated[str, typer.Option(help="Columns of the merge key, with commas; by default found out.")] = "",
    event_time: Annotated[str, typer.Option(help="Column of the event time; by default found out.")] = "",
    region: Annotated[str, typer.Option(help="Column of the region; by default found out.")] = "",
    as_json: AsJson = False,
) -> None:
    """Draft a contract from sample messages, and say what was guessed. An existing one is never replaced."""
    from dagster_project.contract.compiler import NAME
    from dagster_project.contract.draft import Choice, draft
    from dagster_project.contract.loader import load_contract
    from dagster_project.contract.sample import read_messages
    from dagster_project.errors import ContractError

    if not NAME.fullmatch(name):
        raise ContractError(
            f"a dataset named {name!r}",
            expected="lower-case letters, digits and _, starting with a letter",
            remedy="choose another name",
        )
    target = Settings.from_environment().contracts / f"{name}.odcs.yaml"
    choice = Choice(key=tuple(filter(None, key.split(","))), event_time=event_time, region=region)
    try:
        lines = sample.read_text(encoding="utf-8").splitlines()
        drafted = draft(name, read_messages(lines), choice=choice)
        with target.open("x", encoding="utf-8") as file:
            file.write(drafted.text)
    except FileExistsError as error:
        raise ContractError(f"there is a contract {target}", remedy="choose another name, or edit that one") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ContractError(f"{sample}: {error}", remedy="name a file of UTF-8 text") from error
    try:
        load_contract(target)
    except ContractError:
        target.unlink()  # a name that cannot be one, say; the project goes on without it
        raise
    if as_json:
        print_json({"contract": target, "guesses": drafted.guesses})
        return
    console.print(f"{target}: please look at what was guessed", markup=False, soft_wrap=True)
    for guess in drafted.guesses:
        console.print(f"  {guess.path}: {guess.guess}", markup=False, soft_wrap=True)
        console.print(f"      {guess.because}", style="dim", markup=False, soft_wrap=True)


@app.command()
def diff(old: _File, new: _File, *, as_json: AsJson = False) -> None:
    """Show each change between two versions as additive or breaking, with the reason; exit with 1 if any is breaking."""
    from dagster_project.contract.diff import compare
    from dagster_project.contract.loader import load_contract

    changes = compare(load_contract(old, catalog=_catalog), load_contract(new, catalog=_catalog))
    if as_json:
        print_json(changes)
    else:
        show_changes(changes)
    if any(change.verdict == "breaking" for change in changes):
        raise typer.Exit(1)


@app.command()
def docs(
    *,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("catalog"),
    as_json: AsJson = False,
) -> None:
    """Write the catalog as static pages: one for each dataset and mart, and an index."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.errors import ConfigurationError
    from dagster_project.pages.catalog import write_pages

    try:
        pages = write_pages(load_catalog(Settings.from_environment().contracts), out)
    except OSError as error:
        raise ConfigurationError(
            f"{out}: {error}", remedy="name a folder that can be written to, with --out"
        ) from error
    if as_json:
        print_json(pages)
    else:
        console.print(f"{len(pages)} pages; open {pages[0]}", markup=False, soft_wrap=True)


@app.command()
def check(
    *,
    against: Annotated[str, typer.Option(help="The git revision whose contracts are in use.")] = "HEAD",
    as_json: AsJson = False,
) -> None:
    """Exit with 1 if a contract breaks what a git revision says without opening a new major version."""
    from dagster_project.contract.history import broken_promises

    broken = broken_promises(Settings.from_environment().contracts, revision=against)
    if as_json:
        print_json(broken)
    for promise in () if as_json else broken:
        console.print(f"{promise.name} {promise.old} → {promise.new}", style="bold", markup=False)
        show_changes(promise.changes)
    if broken:
        raise typer.Exit(1)
    if not as_json:
        console.print(f"no contract breaks what {against} promises", markup=False)


@app.command()
def register(
    name: Annotated[str, typer.Argument(help="Name of the dataset, as in its contract.", show_default=False)],
    *,
    as_json: AsJson = False,
) -> None:
    """Register a contract's schema, which every later version must then go with; the same once more changes nothing."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.errors import ContractError
    from dagster_project.registry.schemas import Registry
    from dagster_project.services.registry import registry_url

    settings = Settings.from_environment()
    dataset = load_catalog(settings.contracts).dataset(name)
    if dataset.topic.wire_format == "plain":
        raise ContractError(
            f"{dataset.source}: messages of {name} name no schema",
            expected="format: avro, or the custom property wireFormat: confluent, of its Kafka server",
            remedy="nothing is to be registered for it; or choose such a format in its contract",
        )
    registered = Registry(registry_url(settings)).register(dataset)
    if as_json:
        print_json(registered)
        return
    news = "registered" if registered.new else "was registered before"
    line = f"{registered.subject} version {registered.version}, id {registered.schema_id}: {news}, {registered.compatibility}"
    console.print(line, markup=False, soft_wrap=True)
    if registered.changes:
        show_changes(registered.changes)
    if any(change.verdict == "breaking" for change in registered.changes):
        console.print("the registry takes it; the tables or their readers do not: see `lakehouse contract diff`")


def _catalog() -> Catalog:
    from dagster_project.contract.loader import load_catalog

    return load_catalog(Settings.from_environment().contracts)


def show_changes(changes: tuple[Change, ...]) -> None:
    """Print changes, each with its verdict and the reason."""
    if not changes:
        console.print("no change")
    for change in changes:
        colour = "red" if change.verdict == "breaking" else "green"
        line = f"{change.verdict:9} {change.path}: {change.what}"
        console.print(line, style=colour, markup=False, soft_wrap=True)
        console.print(f"          {change.reason}", style="dim", markup=False, soft_wrap=True)
