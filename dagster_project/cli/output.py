"""What commands print: results on stdout, errors and progress on stderr, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from dagster_project.errors import LakehouseError

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Reveal = Annotated[
    bool, typer.Option("--reveal", help="Show keys, payloads and headers of a dataset with confidential columns, too.")
]
HIDDEN = "hidden: it may hold confidential values; --reveal shows it"
console = Console(highlight=False)
error_console = Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """Print dataclasses, mappings and lists as one JSON document; what JSON has no form for, by its text."""
    sys.stdout.write(json.dumps(value, default=_plain, indent=2) + "\n")


def print_error(error: LakehouseError) -> None:
    # No markup: what was found may hold brackets. No wrapping: a path is there to be copied.
    error_console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)


def progress(message: str) -> None:
    """Tell of a step of something that takes a while."""
    error_console.print(message, style="dim", markup=False, soft_wrap=True)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
