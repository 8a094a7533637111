"""`lakehouse release`: a dataset's next major version, built beside the one that serves, promoted, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.cli.output import AsJson, console, print_json, progress
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Catalog
    from dagster_project.lake.releases import Release
    from dagster_project.lake.storage import Storage

app = typer.Typer(
    help="Major versions: the next one beside the one that serves.", no_args_is_help=True, rich_markup_mode=None
)
Name = Annotated[str, typer.Argument(metavar="DATASET", help="Name of the dataset, as in its two contracts.")]


@app.command()
def plan(name: Name, as_json: AsJson = False) -> None:
    """Show what the newer version changes, what has to be read to build it, and where its release stands."""
    from dagster_project.cli.contract import show_changes
    from dagster_project.contract.diff import compare
    from dagster_project.lake import specs
    from dagster_project.lake.serving import state
    from dagster_project.lake.table import Table
    from dagster_project.refine.inherit import inheritance
    from dagster_project.refine.plan import pending_files
    from dagster_project.refine.plan import progress as read
    from dagster_project.refine.rollout import pair

    catalog, storage = _project()
    older, newer = pair(catalog, name)
    now = state(catalog, name, storage=storage)
    bronze = Table.find(specs.bronze(newer), storage=storage)
    done = read(Table.find(specs.silver(newer), storage=storage))
    files = None if bronze is None else pending_files(newer, bronze, done)
    work = {
        "files": 0 if files is None else len(files),
        "rows": 0 if files is None else int(files["num_records"].sum()),
        "bytes": 0 if files is None else int(files["size_bytes"].sum()),
        "expired_partitions": len(inheritance(older, newer, storage=storage)),
    }
    changes = compare(older, newer)
    if as_json:
        print_json({"dataset": name, "release": now, "changes": changes, "to_read": work})
        return
    console.print(f"{name}: {older.version} → {newer.version}", style="bold", markup=False)
    show_changes(changes)
    console.print()
    console.print(f"builds silver/{newer.table} and quarantine/{newer.table} beside those of {older.version}")
    console.print(f"reads  {work['rows']:,} rows, {work['files']:,} files of {work['bytes']:,} bytes of bronze/{name}")
    if work["expired_partitions"]:
        console.print(
            f"takes  {work['expired_partitions']:,} table partitions, which have expired in Bronze, from silver/{older.table}"
        )
    _tell(name, now)


@app.command()
def start(name: Name, as_json: AsJson = False) -> None:
    """Begin to write the newer version; nobody reads it yet. The sensors fill it from Bronze."""
    from dagster_project.refine.rollout import start as begin

    catalog, storage = _project()
    _report(name, begin(catalog, name, storage=storage), as_json=as_json)


@app.command()
def diff(
    name: Name,
    sample: Annotated[int, typer.Option(min=0, help="Differing rows that are shown.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Compare the two versions row by row on their merge key; exit with 1 if they differ."""
    from dagster_project.refine.comparison import compare_rows
    from dagster_project.refine.rollout import pair

    catalog, storage = _project()
    older, newer = pair(catalog, name)
    found = compare_rows(older, newer, storage=storage, sample=sample, report=lambda step: progress(f"{name}: {step}"))
    if as_json:
        print_json({"dataset": name, **vars(found), "same": found.same})
    else:
        old, new = f"silver/{older.table}", f"silver/{newer.table}"
        console.print(f"{old} has {found.rows[0]:,} rows, {new} has {found.rows[1]:,}")
        console.print(f"only in {old}: {found.only_old:,}; only in {new}: {found.only_new:,}")
        console.print(f"in both with other values: {found.differing:,}")
        for column, count in found.columns.items():
            before = newer.column(column).renamed_from
            console.print(f"  {column}{f' (was {before})' if before else ''}: {count:,} rows", markup=False)
        if found.added or found.removed:
            console.print(
                f"not compared: added {', '.join(found.added) or 'none'}; removed {', '.join(found.removed) or 'none'}"
            )
        for row in found.sample:
            key = " | ".join(map(str, row["key"].values()))
            values = "; ".join(f"{column}: {was['old']} → {was['new']}" for column, was in row["values"].items())
            where = {"both": values, "old": f"only in {old}", "new": f"only in {new}"}[row["in"]]
            console.print(f"  {key}: {where}", style="dim", markup=False, soft_wrap=True)
        console.print(
            "the versions differ" if not found.same else "the versions are the same",
            style="yellow" if not found.same else "bold green",
        )
    if not found.same:
        raise typer.Exit(1)


@app.command()
def promote(name: Name, as_json: AsJson = False) -> None:
    """Let readers have the newer version, in one step; the older one goes on to be written."""
    _take_over(name, back=False, as_json=as_json)


@app.command()
def rollback(name: Name, as_json: AsJson = False) -> None:
    """Let readers have the older version again, in one step."""
    _take_over(name, back=True, as_json=as_json)


@app.command()
def retire(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop to write the older version, and delete its tables. There is no way back but to build it again."""
    from dagster_project.refine.rollout import retire as end
    from dagster_project.services import orchestrator

    settings = Settings.from_environment()
    catalog, storage = _project()
    if not yes:
        typer.confirm(f"Delete Silver and quarantine of the older version of {name}?", abort=True, err=True)
    with orchestrator.alone(settings):  # its runs would make anew what is being deleted
        now, deleted = end(catalog, name, storage=storage)
    versions = catalog.versions(name)
    obsolete = [version.source for version in versions if version.major != now.serves]
    if as_json:
        print_json({"dataset": name, "release": now, "deleted": deleted, "obsolete_contracts": obsolete})
        return
    for table in deleted:
        console.print(f"{table} is deleted")
    for source in obsolete:
        console.print(f"now delete {source}", style="bold", markup=False, soft_wrap=True)
    _tell(name, now)


def _take_over(name: str, *, back: bool, as_json: bool) -> None:
    from dagster_project.refine.rollout import take_over

    catalog, storage = _project()
    _report(name, take_over(catalog, name, back=back, storage=storage, report=progress), as_json=as_json)


def _project() -> tuple[Catalog, Storage]:
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    return load_catalog(settings.contracts), Storage.at(settings.lake_uri)


def _report(name: str, now: Release, *, as_json: bool) -> None:
    if as_json:
        facts: dict[str, Any] = {"dataset": name, "release": now}
        print_json(facts)
    else:
        _tell(name, now)


def _tell(name: str, now: Release) -> None:
    written = " and ".join(map(str, now.written))
    since = f", since {now.action} by {now.by} at {now.at}" if now.number else ""
    console.print(
        f"readers of silver.{name} get version {now.serves}; written: {written}{since}",
        style="bold green",
        markup=False,
        soft_wrap=True,
    )
