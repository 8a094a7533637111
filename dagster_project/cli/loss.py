"""`lakehouse loss`: offsets that the broker deleted before they were read, and a person's word that they are given up."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from dagster_project.contract.model import Dataset
    from dagster_project.ingest.cursor import Cursor
    from dagster_project.lake.storage import Storage
    from dagster_project.ledger.ledger import Ledger
    from dagster_project.topics.broker import Topic
    from dagster_project.topics.offsets import Offsets

app = typer.Typer(help="Offsets that were deleted before they were read.", no_args_is_help=True)


@app.command("list")
def list_(
    dataset: Annotated[str | None, typer.Argument(help="Only this dataset.")] = None, *, as_json: AsJson = False
) -> None:
    """Show losses: those that were declared, and those that hold up the ingest until they are."""
    from dagster_project.contract.loader import load_catalog

    catalog = load_catalog(Settings.from_environment().contracts)
    chosen = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    rows = [row for item in chosen for row in _listed(item)]
    if as_json:
        print_json(rows)
        return
    if not rows:
        console.print("nothing was lost")
        return
    _show(rows)


@app.command()
def accept(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever asks later.")],
    by: Annotated[str | None, typer.Option(help="Who decides this; by default the user who runs it.")] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="What has expired in Bronze and Silver, made anew, has not read.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Declare lost what was deleted unread, so that runs go on after it. This cannot be taken back."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.errors import OffsetLossError
    from dagster_project.ledger.losses import declare

    contract = load_catalog(Settings.from_environment().contracts).dataset(dataset)
    if expired:
        _accept_expired(contract, reason=reason, by=by or getpass.getuser(), yes=yes, as_json=as_json)
        return
    storage, topic, cursor, ledger, gone = _state(contract)
    if not gone or cursor is None:
        raise OffsetLossError(
            f"nothing is lost: topic {topic.name!r} still has every offset that {dataset} has not read",
            expected="a cursor that the broker's log no longer reaches back to",
            remedy="nothing: `lakehouse loss list` shows what was declared before",
        )
    fresh = gone - ledger.offsets("lost")
    if fresh and not yes:
        _show(_entries(dataset, fresh.rows(), state="not declared"))
        typer.confirm(f"Give up these {len(fresh):,} offsets of {dataset} for ever?", abort=True, err=True)
    name = by or getpass.getuser()
    written = declare(contract, topic, losses=gone, reason=reason, by=name, batch_id=cursor.batch_id, storage=storage)
    rows = _entries(dataset, written.rows(note=reason, declared_by=name), state="declared")
    if as_json:
        print_json(rows)
    elif rows:
        _show(rows)
        console.print(f"declared lost: {len(written):,} offsets; the next ingest of {dataset} goes on after them")
    else:
        console.print("all of it was declared before; nothing was written")


def _accept_expired(contract: Dataset, *, reason: str, by: str, yes: bool, as_json: bool) -> None:
    from dagster_project.errors import ExpiredError
    from dagster_project.lake.storage import Storage
    from dagster_project.refine.expired import give_up, missing

    storage = Storage.at(Settings.from_environment().lake_uri)
    gone = missing(contract, storage=storage)
    if not gone:
        raise ExpiredError(
            f"nothing is missing: silver/{contract.name} has read all that has expired in Bronze",
            expected="a Silver table that was made anew after its Bronze rows had expired",
            remedy="nothing",
        )
    if not yes:
        _show(_entries(contract.name, gone.rows(), state="not declared"))
        typer.confirm(f"Give up these {len(gone):,} offsets of {contract.name} for ever?", abort=True, err=True)
    given_up = give_up(contract, reason=reason, by=by, storage=storage)
    rows = _entries(contract.name, given_up.rows(note=reason, declared_by=by), state="declared")
    if as_json:
        print_json(rows)
        return
    _show(rows)
    console.print(f"declared lost: {len(given_up):,} offsets; Silver of {contract.name} is made of what is left")


def _state(contract: Dataset) -> tuple[Storage, Topic, Cursor | None, Ledger, Offsets]:
    """What the broker has, what Bronze has read, what the ledger says, and what was deleted unread."""
    from dagster_project.ingest.cursor import Cursor, resume
    from dagster_project.lake import specs
    from dagster_project.lake.storage import Storage
    from dagster_project.lake.table import Table
    from dagster_project.ledger.ledger import Ledger
    from dagster_project.ledger.losses import deleted
    from dagster_project.services.kafka import bootstrap_servers
    from dagster_project.topics.broker import Broker

    settings = Settings.from_environment()
    storage = Storage.at(settings.lake_uri)
    topic = Broker(bootstrap_servers(settings)).topic(contract.topic.name)
    bronze = Table.find(specs.bronze(contract), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    ledger = Ledger.read(Table.find(specs.ledger(contract), storage=storage), topic, kind="lost")
    if cursor is not None and cursor.topic_id != topic.topic_id:
        resume(cursor, topic, dataset=contract.name, lost=ledger.offsets("lost"))  # says what is wrong
    return storage, topic, cursor, ledger, deleted({} if cursor is None else cursor.next, topic)


def _listed(contract: Dataset) -> list[dict[str, Any]]:
    _, _, _, ledger, gone = _state(contract)
    fresh = gone - ledger.offsets("lost")
    return [
        *_entries(contract.name, ledger.rows, state="declared"),
        *_entries(contract.name, fresh.rows(), state="not declared"),
    ]


def _entries(dataset: str, rows: pl.DataFrame, *, state: str) -> list[dict[str, Any]]:
    return [
        {
            "dataset": dataset,
            "partition": row["_kafka_partition"],
            "first": row["first_offset"],
            "last": row["last_offset"],
            "offsets": row["last_offset"] - row["first_offset"] + 1,
            "state": state,
            "reason": row.get("note"),
            "by": row.get("declared_by"),
            "at": row.get("recorded_at"),
        }
        for row in rows.iter_rows(named=True)
    ]


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table()
    for name in rows[0]:
        table.add_column(name, justify="right" if name in {"partition", "first", "last", "offsets"} else "left")
    for row in rows:
        table.add_row(
            *(
                "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
                for value in row.values()
            ),
            style="red" if row["state"] == "not declared" else None,
        )
    console.print(table)
