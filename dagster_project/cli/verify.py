"""`lakehouse verify`: prove where every offset is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.accounting.account import Account


def verify(
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="Compare payloads with the broker's, and values with their payloads.")
    ] = False,
    deep: Annotated[bool, typer.Option("--deep", help="Compute the marts again and compare their values.")] = False,
    as_json: AsJson = False,
) -> None:
    """Account for every offset, from the tables and the broker; exit with 1 if one has no proven place."""
    from dagster_project.accounting.account import account
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.serving import written
    from dagster_project.lake.storage import Storage
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.services.registry import registry_of
    from dagster_project.topics.broker import Broker

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    names = catalog.names() if dataset is None else (catalog.dataset(dataset).name,)
    servers = bootstrap_servers(settings)
    broker = Broker(servers)
    storage = Storage.at(settings.lake_uri)
    # Each major version that is written has an account of its own.
    chosen = [item for name in names for item in written(catalog, name, storage=storage)]
    accounts = [
        account(
            item,
            catalog=catalog,
            storage=storage,
            topic=lambda name=item.topic.name: broker.topics([name]).get(name),
            bootstrap_servers=servers,
            payloads=payloads,
            deep=deep,
            registry=registry_of(item, settings) if payloads else "",
            report=progress,
        )
        for item in chosen
    ]
    if as_json:
        print_json(accounts if dataset is None or len(accounts) > 1 else accounts[0])
    else:
        for item in accounts:
            show(item)
    if not all(item.accounted for item in accounts):
        raise typer.Exit(1)


def show(account: Account) -> None:
    """Print one account as a table, with the verdict under it."""
    from rich.table import Table

    from dagster_project.accounting.tiles import PLACES

    # No title of the table, which would be broken to the table's width.
    console.print(f"{account.dataset}: where {account.offsets:,} offsets are", style="italic")
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name in PLACES:
        count: int = getattr(account, name)
        style = None if count else "dim"
        table.add_row(name.replace("_", " "), f"{count:,}", style="red" if name == "unaccounted" and count else style)
    table.add_section()
    table.add_row("offsets", f"{account.offsets:,}")
    table.add_row("bronze rows", f"{account.bronze_rows:,}")
    if account.expired:
        table.add_row("expired in bronze", f"{account.expired:,}")
    table.add_row("gold rows", f"{account.gold_rows:,}")
    if account.letters is not None:
        table.add_row("dead letters", f"{account.letters:,}")
    console.print(table)
    for problem in account.problems:
        console.print(f"  {problem}", style="red", markup=False, soft_wrap=True)
    if account.letters_pending:
        console.print(f"  {account.letters_pending:,} poison messages are still to be sent to the dead-letter topic")
    if account.unproven_gaps:
        console.print(f"  {account.unproven_gaps:,} gaps are older than what the broker keeps", style="yellow")
    verdict = "every offset is accounted for" if account.accounted else "NOT every offset is accounted for"
    console.print(verdict, style="bold green" if account.accounted else "bold red")
