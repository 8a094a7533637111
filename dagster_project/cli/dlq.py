"""`lakehouse dlq list|show|replay`: messages that could not be decoded, and how they are sent once more."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.cli.output import HIDDEN, AsJson, Reveal, console, error_console, print_json
from dagster_project.errors import KafkaError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from dagster_project.contract.model import Dataset

app = typer.Typer(
    help="The dead-letter queue: what failed, why, and sending it once more.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset, as in its contract.")]
Where = Annotated[
    str | None, typer.Option(help="SQL over the letters' columns, such as \"_error LIKE 'region.%'\"; by default all.")
]


@app.command("list")
def list_letters(dataset: Name, where: Where = None, reveal: Reveal = False, as_json: AsJson = False) -> None:
    """List letters, in the order in which they failed."""
    from rich.table import Table

    contract, servers = _found(dataset)
    letters = _letters(contract, servers, where)
    if as_json:
        hidden = bool(contract.protected) and not reveal
        print_json([_plain(row, hidden=hidden) for row in letters.iter_rows(named=True)])
        return
    table = Table(title=f"{dataset}: {len(letters):,} letters", title_justify="left")
    for column in ("letter", "failed", "attempt", "replayed", "error", "correlation id"):
        table.add_column(column, overflow="fold")
    for row in letters.iter_rows(named=True):
        replayed = "" if row["replayed_at"] is None else f"{row['replayed_at']:%Y-%m-%d %H:%M:%S}"
        failed = f"{row['written_at']:%Y-%m-%d %H:%M:%S}"
        texts = (_place(row), failed, str(row["attempt"]), replayed, row["_error"], row["_correlation_id"])
        table.add_row(*map(_unmarked, texts), style="dim" if replayed else None)
    console.print(table)


@app.command()
def show(
    dataset: Name,
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="Of the message that failed.")],
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show one letter with its message as received."""
    contract, servers = _found(dataset)
    found = [row for row in _letters(contract, servers, None).iter_rows(named=True) if _place(row) == place]
    if not found:
        raise KafkaError(
            f"no letter {place} in the dead-letter queue of {dataset}",
            expected="<Kafka partition>/<offset> of a message that failed",
            remedy=f"see `lakehouse dlq list {dataset}`; what has just failed is published within seconds",
        )
    hidden = bool(contract.protected) and not reveal
    row = _plain(found[-1], hidden=hidden)  # of a topic that was made anew, offsets begin again: the newest one
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        if name == "_headers":
            for header in value:
                _line("header " + header["key"], header["value"])
        elif name != "_payload_base64":
            _line(name, value)


@app.command()
def replay(
    dataset: Name,
    where: Where = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and write nothing.")] = False,
    max_attempts: Annotated[int, typer.Option(min=1, help="Refuse letters that were sent again this often.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Send letters to their topic once more, each exactly once; exit with 1 if one was refused."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dagster_project.outbox.replay import replay as send

    contract, servers = _found(dataset)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=error_console) as progress:
        task = progress.add_task("reading letters", total=None)
        done = send(
            contract,
            bootstrap_servers=servers,
            predicate=where,
            max_attempts=max_attempts,
            dry_run=dry_run,
            report=lambda sent, total: progress.update(
                task, description=contract.topic.name, completed=sent, total=total
            ),
        )
    if as_json:
        print_json(done)
    else:
        verb = "would be sent" if dry_run else "sent"
        console.print(f"{done.topic}: {len(done.replayed):,} letters {verb} once more", markup=False, soft_wrap=True)
        if done.before:
            console.print(f"  {done.before:,} were sent before, and are not sent twice", style="dim")
        if done.refused:
            names = ", ".join(done.refused)
            error_console.print(
                f"  {len(done.refused):,} failed after {max_attempts} replays and are refused: {names}\n"
                f"  to do: see why with `lakehouse dlq show {dataset} {done.refused[0]}`, or raise --max-attempts",
                style="red",
                markup=False,
                soft_wrap=True,
            )
    if done.refused:
        raise typer.Exit(1)


def _found(name: str) -> tuple[Dataset, str]:
    from dagster_project.contract.loader import load_catalog
    from dagster_project.services.kafka import bootstrap_servers

    settings = Settings.from_environment()
    return load_catalog(settings.contracts).dataset(name), bootstrap_servers(settings)


def _letters(dataset: Dataset, servers: str, predicate: str | None) -> pl.DataFrame:
    from dagster_project.outbox.letters import read_letters, where

    return where(read_letters(dataset, bootstrap_servers=servers), predicate)


def _place(row: dict[str, Any]) -> str:
    return f"{row['_kafka_partition']}/{row['_kafka_offset']}"


def _plain(row: dict[str, Any], *, hidden: bool) -> dict[str, Any]:
    """A letter with texts for bytes, and the payload's bytes themselves in base64; or without what was received."""
    if hidden:
        headers = [{"key": header["key"], "value": HIDDEN} for header in row["_headers"]]
        return {**row, "_key": HIDDEN, "_payload": HIDDEN, "_headers": headers}
    payload: bytes | None = row["_payload"]
    encoded = None if payload is None else base64.b64encode(payload).decode()
    headers = [{"key": header["key"], "value": _text(header["value"])} for header in row["_headers"]]
    texts = {"_key": _text(row["_key"]), "_payload": _text(payload), "_payload_base64": encoded, "_headers": headers}
    return {**row, **texts}


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _unmarked(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _line(name: str, value: object) -> None:
    console.print(f"{name:24} {'-' if value is None else value}", markup=False, soft_wrap=True)
