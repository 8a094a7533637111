"""`lakehouse forget`: one subject leaves every layer, history included, and the command proves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, error_console, print_json, progress
from dagster_project.errors import LakeError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Dataset
    from dagster_project.lifecycle.find import Found
    from dagster_project.lifecycle.forget import Forgotten

# Objects that are named where the subject is still found.
_NAMED = 10


def forget(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset, as in its contract.")],
    key: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="Of the merge key; once for each of its columns.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Of any column: all merge keys that ever had the value."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase all rows about a subject from every layer, then search the whole lake; exit with 1 if it is still there."""
    import getpass

    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake import specs
    from dagster_project.lake.storage import Storage
    from dagster_project.lake.table import Table
    from dagster_project.lifecycle.forget import forget as erase
    from dagster_project.lifecycle.subject import Subject
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.serving.cache import Cache
    from dagster_project.serving.publish import publish

    settings = Settings.from_environment()
    catalog, storage = load_catalog(settings.contracts), Storage.at(settings.lake_uri)
    dataset = catalog.dataset(name)
    subject = Subject.of(dataset, _values(dataset, key or [], column or []))

    def confirm(found: Found) -> None:
        told = ", ".join(f"{rows:,} in {layer}" for layer, rows in found.rows.items())
        progress(f"{name}: rows about the subject: {told}")
        if not yes:
            typer.confirm(f"Erase them from every layer of {name}, for ever?", abort=True, err=True)

    done = erase(
        dataset,
        subject,
        by=getpass.getuser(),
        catalog=catalog,
        storage=storage,
        bootstrap_servers=bootstrap_servers(settings),
        confirm=confirm,
        report=progress,
    )
    cache = Cache.of(settings)
    for mart in catalog.marts_of(dataset.name):
        if (gold := Table.find(specs.gold(mart), storage=storage)) is not None:
            copy = publish(mart, gold, cache=cache)
            if copy.state == "unavailable":
                progress(
                    f"{mart.name} in the cache: {copy}; what it has goes when it is back, or with its time to live"
                )
    if as_json:
        print_json(done)
    else:
        _show(done)
    if done.hits:
        raise typer.Exit(1)


def _values(dataset: Dataset, key: list[str], column: list[str]) -> dict[str, str]:
    """Values by column. What is wrong with them is told without them."""
    pairs = [text.partition("=") for text in (*key, *column)]
    names = [name for name, _, _ in pairs]
    expected = " ".join(f"--key {name}=…" for name in dataset.merge_key)
    if not names or not all(equals and value for _, equals, value in pairs) or len(set(names)) < len(names):
        raise LakeError(
            "nobody is named, or not by one value for each column",
            expected=f"{expected}, or --column <name>=<value>",
            remedy="name the subject; what would be erased is shown before it is",
        )
    if key and ({name for name, _, _ in pairs[: len(key)]} != set(dataset.merge_key) or column):
        raise LakeError(
            f"--key names {', '.join(names)}",
            expected=f"the whole merge key and nothing else: {expected}",
            remedy="give every column of it, or use --column for columns that are not the key",
        )
    return {name: value for name, _, value in pairs}


def _show(done: Forgotten) -> None:
    for table, rows in done.rows.items():
        console.print(f"{table}: {rows:,} rows erased", markup=False)
    console.print(
        f"{done.files:,} files of older versions deleted; {done.offsets:,} offsets of {done.dataset} forgotten"
    )
    for left in done.kafka:
        console.print(
            f"Kafka keeps {left.records:,} records in {left.topic} until {left.until}: they are not read again",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    looked = f"searched {done.objects:,} objects, {done.bytes:,} bytes: {len(done.hits):,} hits"
    if not done.hits:
        console.print(looked, style="green", markup=False, soft_wrap=True)
        return
    error_console.print(looked, style="red", markup=False, soft_wrap=True)
    for path in done.hits[:_NAMED]:
        error_console.print(f"  {path}", style="red", markup=False, soft_wrap=True)
    error_console.print(
        "  to do: run this again; where another dataset holds it, run `lakehouse forget` for that one; files that a run "
        "may be about to commit are deleted an hour after they were written",
        style="red",
        markup=False,
        soft_wrap=True,
    )
