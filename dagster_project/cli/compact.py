"""`lakehouse compact`: many small files become few."""

from __future__ import annotations

from typing import Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings


def compact(
    dataset: Annotated[str | None, typer.Option(help="Only the tables of this dataset and its marts.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Merge small files of the tables; rows stay as they are, and no file is deleted."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake import specs
    from dagster_project.lake.compaction import Compacted, compact
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    catalog = load_catalog(settings.contracts)
    datasets = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    marts = catalog.marts if dataset is None else catalog.marts_of(dataset)
    tables = [spec(item) for item in datasets for spec in (specs.bronze, specs.silver, specs.quarantine)]
    storage = Storage.at(settings.lake_uri)
    commits: list[Compacted] = []
    for spec in [*tables, *map(specs.gold, marts)]:
        for done in compact(spec, storage=storage, rehearse=dry_run):
            commits.append(done)
            progress(f"{done.table}: {done.files} files of {done.bytes:,} bytes")
    if as_json:
        print_json(commits)
        return
    for done in commits:
        sizes = f"{done.files:,} files → {done.into:,}, {done.rows:,} rows, {done.bytes:,} bytes"
        if done.outpaced:
            console.print(f"{done.table}: another writer came first, nothing was changed", style="yellow")
        else:
            outcome = "would be merged" if done.version is None else f"version {done.version}"
            console.print(f"{done.table}: {sizes} ({outcome})", markup=False, soft_wrap=True)
    if not commits:
        console.print("nothing to compact")
