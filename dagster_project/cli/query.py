"""`lakehouse query`: SQL over the lake."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from dagster_project.cli.output import AsJson, console, print_json
from dagster_project.errors import ConfigurationError
from dagster_project.settings import Settings

# Rows of the pretty table; --json and --csv print all.
_SHOWN = 50


def query(
    sql: Annotated[str, typer.Argument(help="A query over bronze.*, silver.*, gold.* and quarantine.*.")],
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> None:
    """Query the tables with DuckDB's SQL."""
    import polars as pl

    from dagster_project.contract.loader import load_catalog
    from dagster_project.lake.query import query as run
    from dagster_project.lake.storage import Storage

    if as_json and as_csv:
        raise ConfigurationError("--json and --csv", expected="one of them", remedy="leave one out")
    settings = Settings.from_environment()
    frame = run(sql, catalog=load_catalog(settings.contracts), storage=Storage.at(settings.lake_uri))
    if as_json:
        print_json(frame.to_dicts())
    elif as_csv:
        nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype == pl.Binary]
        sys.stdout.write(frame.with_columns(pl.col(nested).map_elements(str, pl.String)).write_csv())
    else:
        from rich.table import Table

        table = Table(*frame.columns)
        for row in frame.head(_SHOWN).iter_rows():
            table.add_row(*("" if value is None else str(value) for value in row))
        console.print(table, markup=False)
        more = f", {len(frame) - _SHOWN:,} more not shown" if len(frame) > _SHOWN else ""
        console.print(f"{len(frame):,} rows{more}", style="dim")
