"""`lakehouse watermarks`: up to which event time each region's rows are there, and which Kafka partitions it follows from."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster_project.contract.model import Dataset
    from dagster_project.lake.storage import Storage


def watermarks(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]", help="By default all of them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the watermark of each region in Silver, and the newest event of each Kafka partition in it."""
    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.storage import Storage

    settings = Settings.from_environment()
    catalog, storage = load_catalog(settings.contracts), Storage.at(settings.lake_uri)
    chosen = catalog.datasets if dataset is None else (catalog.dataset(dataset),)
    found = [row for one in chosen for row in _rows(one, storage)]
    if as_json:
        print_json(found)
    elif found:
        _show(found)
    else:
        console.print("no events in Silver yet")


def _rows(dataset: Dataset, storage: Storage) -> list[dict[str, Any]]:
    from dagster_project.lake import specs
    from dagster_project.lake.table import Table
    from dagster_project.refine.watermarks import sources
    from dagster_project.refine.watermarks import watermarks as of_regions

    silver = Table.find(specs.silver(dataset), storage=storage)
    if silver is None:
        return []
    regions = of_regions(dataset, silver)
    return [
        {
            "dataset": dataset.table,
            "region": region,
            "watermark": regions[region].at,
            "silent": regions[region].silent,
            "partition": source.partition,
            "newest": source.newest,
            "idle": source.idle,
        }
        for region, own in sources(dataset, silver.cursors()).items()
        for source in own
    ]


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    for dataset, own in groupby(rows, key=lambda row: row["dataset"]):
        table = Table(title=dataset, title_justify="left", box=None, pad_edge=False)
        for name in ("region", "watermark (UTC)", "", "partition", "newest event (UTC)", ""):
            table.add_column(name, justify="right" if name == "partition" else "left", no_wrap=True)
        shown = ""
        for row in own:
            region = ("", "", "")
            if row["region"] != shown:
                shown = row["region"]
                region = (shown, f"{row['watermark']:%Y-%m-%d %H:%M:%S}", "silent" if row["silent"] else "")
            source = (str(row["partition"]), f"{row['newest']:%Y-%m-%d %H:%M:%S}", "idle" if row["idle"] else "")
            style = "yellow" if row["silent"] else "dim" if row["idle"] else None
            table.add_row(*region, *source, style=style)
        console.print(table)
