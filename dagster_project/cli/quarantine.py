"""`lakehouse quarantine list|show|release`: rows that the gate keeps from Silver, and how they get there after a fix."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.cli.output import HIDDEN, AsJson, Reveal, console, print_json, progress
from dagster_project.errors import LakeError
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagster_project.contract.model import Dataset
    from dagster_project.lake.keys import Key
    from dagster_project.lake.storage import Storage

app = typer.Typer(
    help="The quarantine: rows that broke a rule, what is held back, and judging it anew.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Name = Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset, as in its contract.")]
Where = Annotated[
    str | None,
    typer.Option(
        help="SQL over the rows' columns, such as \"reasons LIKE 'amount.%' AND region = 'eu'\"; by default all."
    ),
]


@app.command("list")
def list_(dataset: Name, where: Where = None, as_json: AsJson = False) -> None:
    """List table partitions and regions that are held back, and quarantined rows by region and rule."""
    import polars as pl

    from dagster_project.refine.probe import waiting
    from dagster_project.refine.quarantine import quarantined

    contract, storage = _found(dataset)
    held = [
        {
            "scope": str(item.scope),
            "by": "breaker" if item.breaker else "table rules",
            "rows": item.rows,
            "since": _moment(item.since_ms),
            "judged again": _moment(item.retry_ms),
            "why": item.why,
        }
        for item in waiting(contract, storage=storage)
    ]
    found = quarantined(contract, storage=storage, where=where)
    rules = pl.col("_reasons").list.join(", ").alias("rules")
    last = pl.max("_quarantined_at").dt.strftime("%Y-%m-%d %H:%M:%S").alias("last")
    groups = found.group_by("region", rules).agg(pl.len().alias("rows"), last).sort("rows", descending=True)
    if as_json:
        print_json({"dataset": dataset, "rows": len(found), "held": held, "quarantined": groups.to_dicts()})
        return
    if held:
        _table(f"{dataset}: held back, and still in Bronze", held, style="red")
    if len(found):
        _table(f"{dataset}: {len(found):,} rows in quarantine", groups.to_dicts())
    if not held and not len(found):
        console.print(f"{dataset}: nothing is held back, and nothing is in quarantine")


@app.command()
def show(
    dataset: Name,
    place: Annotated[str, typer.Argument(metavar="PARTITION/OFFSET", help="Of the row's message.")],
    reveal: Reveal = False,
    as_json: AsJson = False,
) -> None:
    """Show one row with its message as received and every rule that it broke."""
    from dagster_project.refine.quarantine import quarantined

    contract, storage = _found(dataset)
    rows = quarantined(contract, storage=storage).iter_rows(named=True)
    row = next((row for row in rows if f"{row['_kafka_partition']}/{row['_kafka_offset']}" == place), None)
    if row is None:
        raise LakeError(
            f"no row {place} in the quarantine of {dataset}",
            expected="<Kafka partition>/<offset> of a row that broke a rule",
            remedy=f"see `lakehouse quarantine list {dataset}`; what could not be decoded is in `lakehouse dlq list`",
        )
    headers = {header["key"]: _text(header["value"]) for header in row.pop("_headers") or ()}
    del row["_release"]  # of a row that is here, there is none
    plain = {**row, "_key": _text(row["_key"]), "_payload": _text(row["_payload"])}
    if contract.protected and not reveal:
        plain |= {"_key": HIDDEN, "_payload": HIDDEN}
        headers = dict.fromkeys(headers, HIDDEN)
    if as_json:
        print_json({**plain, "_headers": headers})
        return
    for name, value in {**plain, **{f"header {name}": value for name, value in headers.items()}}.items():
        told = ", ".join(value) if isinstance(value, list) else value
        console.print(f"{name:24} {'-' if told is None else told}", markup=False, soft_wrap=True)


@app.command()
def release(
    dataset: Name,
    where: Where = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Judge rows by the contract as it is now; those that pass go to Silver, each exactly once."""
    from dagster_project.refine.release import release as let_go
    from dagster_project.services.registry import registry_of

    contract, storage = _found(dataset)
    progress(f"{dataset}: judging rows of the quarantine")
    registry = registry_of(contract, Settings.from_environment())
    found = let_go(contract, storage=storage, registry=registry, where=where, dry_run=dry_run)
    released, held = sum(found.released.values()), sum(found.held.values())
    if as_json:
        counts: dict[str, Any] = {**vars(found), "released": _named(found.released), "held": _named(found.held)}
        print_json({"dataset": dataset, "dry_run": dry_run, **counts})
        return
    if found.resumed:
        console.print(f"{dataset}: {found.resumed:,} rows that an earlier release had let go are in Silver now")
    verb = "would go" if dry_run else "went"
    console.print(f"{dataset}: {found.judged:,} rows judged anew, {released:,} {verb} to Silver")
    if held:
        console.print(f"  {held:,} keep to the rules, but these are held back: {', '.join(_named(found.held))}")
    for rule, rows in sorted(found.reasons.items(), key=lambda item: -item[1]):
        console.print(f"  {rows:,} still break {rule}", markup=False)


def _found(name: str) -> tuple[Dataset, Storage]:
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    return load_catalog(settings.contracts).dataset(name), Storage.at(settings.lake_uri)


def _named(rows: Mapping[Key, int]) -> dict[str, int]:
    return {str(key): count for key, count in sorted(rows.items(), key=str)}


def _moment(epoch_ms: int) -> str:
    return dt.datetime.fromtimestamp(epoch_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="backslashreplace")


def _table(title: str, rows: list[dict[str, Any]], *, style: str | None = None) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="right" if name == "rows" else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *(f"{value:,}" if isinstance(value, int) else escape(str(value)) for value in row.values()), style=style
        )
    console.print(table)
