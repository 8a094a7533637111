"""`lakehouse maintain`: what the nightly maintenance does, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.lake.table import TableSpec
    from dagster_project.lifecycle.ageing import Aged
    from dagster_project.lifecycle.expiry import Expired
    from dagster_project.lifecycle.upkeep import Upkeep


def maintain(
    dataset: Annotated[str | None, typer.Option(help="Only the tables of this dataset and its marts.")] = None,
    kept_hours: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How long files stay that a table has no more, 168 by default: longer than any run; of `ops` 24.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete what is older than its retention from Bronze and `ops`; compact, vacuum and tidy up all tables."""
    import datetime as dt

    from dagster_project.contract.loader import load_catalog
    from dagster_project.cost.prices import load_prices
    from dagster_project.lake import specs
    from dagster_project.lake.serving import written
    from dagster_project.lake.storage import Storage
    from dagster_project.lake.vacuum import KEPT_HOURS
    from dagster_project.lifecycle import ageing
    from dagster_project.lifecycle.ageing import age
    from dagster_project.lifecycle.expiry import expire
    from dagster_project.lifecycle.upkeep import tend

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    datasets = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    marts = catalog.marts if dataset is None else catalog.marts_of(dataset)
    storage = Storage.at(settings.lake_uri)
    expired: list[Expired] = []
    for item in datasets:
        progress(f"bronze/{item.name}: what is older than {item.slo.retention.days} days")
        readers = written(catalog, item.name, storage=storage)
        now = dt.datetime.now(dt.UTC)
        expired += expire(item, storage=storage, now=now, readers=readers, rehearse=dry_run)
    tables: list[TableSpec] = []
    for item in datasets:
        own = [spec(version) for version in catalog.versions(item.name) for spec in (specs.silver, specs.quarantine)]
        tables += [specs.bronze(item), *own, specs.ledger(item)]
    tables += map(specs.gold, marts)
    ops = specs.ops() if dataset is None else ()
    now = dt.datetime.now(dt.UTC)
    aged = [gone for spec in ops if (gone := age(spec, storage=storage, now=now, rehearse=dry_run)) is not None]
    tended = [
        done
        for spec in (*tables, *ops)
        if (
            done := tend(
                spec,
                storage=storage,
                usd_per_gb_month=load_prices(settings.prices).store.gb_month,
                kept_hours=kept_hours or (ageing.KEPT_HOURS if spec in ops else KEPT_HOURS),
                rehearse=dry_run,
                report=progress,
            )
        )
        is not None
    ]
    if as_json:
        print_json({"dry_run": dry_run, "expired": expired, "aged": aged, "tables": tended})
        return
    _show(expired, aged, tended, dry_run=dry_run)


def _show(expired: list[Expired], aged: list[Aged], tended: list[Upkeep], *, dry_run: bool) -> None:
    from rich.table import Table

    for item in expired:
        what = "another writer came first, nothing was deleted from" if item.outpaced else "deleted from"
        console.print(
            f"{'would be ' if dry_run else ''}{what} bronze/{item.dataset}: {item.rows:,} rows, {item.files:,} files of "
            f"{item.bytes:,} bytes, {_named(item.partitions)}",
            markup=False,
            soft_wrap=True,
        )
    for gone in aged:
        console.print(
            f"{'would be ' if dry_run else ''}deleted from {gone.table}: {gone.rows:,} rows of {gone.dates} days, "
            f"{gone.files:,} files of {gone.bytes:,} bytes",
            markup=False,
            soft_wrap=True,
        )
    table = Table(title="as in a dry run: nothing was changed" if dry_run else None, title_justify="left")
    for name in ("table", "files", "bytes", "live bytes", "log files", "compacted", "vacuumed", "USD/month saved"):
        table.add_column(name, justify="left" if name == "table" else "right", no_wrap=True)
    for done in tended:
        merged = [item for item in done.compacted if not item.outpaced]
        table.add_row(
            done.table,
            _change(done.before.files, done.after.files),
            _change(done.before.bytes, done.after.bytes),
            _change(done.before.live_bytes, done.after.live_bytes),
            _change(done.before.log_files, done.after.log_files),
            f"{sum(item.files for item in merged):,} → {sum(item.into for item in merged):,}",
            f"{done.vacuumed_files:,}",
            f"{done.saved_usd_per_month:,.6f}",
        )
    console.print(table)


def _named(partitions: tuple[str, ...]) -> str:
    first, last = partitions[0], partitions[-1]
    return first if len(partitions) == 1 else f"{len(partitions)} table partitions from {first} to {last}"


def _change(before: int, after: int) -> str:
    return f"{before:,}" if before == after else f"{before:,} → {after:,}"
