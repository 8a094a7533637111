"""The page on telemetry says what the code says: each metric, and each field of a line."""

from __future__ import annotations

import re
from pathlib import Path

from dagster_project.contract.loader import load_catalog
from dagster_project.metrics.exporter import Exporter
from dagster_project.metrics.sources import sources
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.telemetry.canonical import Line

PAGE = REPOSITORY / "docs" / "telemetry.md"
# What is put to every line beside its own fields.
COMMON = {
    "event": "always `batch`",
    "at": "when the line was written, in UTC",
    "run_id": "Dagster's; without its dashes it is the trace id of the spans",
    "cpu_s": "CPU seconds of the process since the run's line before",
}


def metrics() -> list[str]:
    settings = Settings(home=Path("/nowhere"), project=REPOSITORY, lake_uri="/nowhere/lake", bootstrap_servers="")
    catalog = load_catalog(settings.contracts)
    exporter = Exporter(sources(catalog, settings, failures=lambda _: {}))
    return [
        f"| `{one.name}` | {', '.join(f'`{label}`' for label in one.labels)} | {one.unit} | {one.help} |"
        for one in exporter.families
    ]


def fields() -> list[str]:
    assert Line.__doc__ is not None
    told = dict(re.findall(r"^ {8}(\w+): ((?:.|\n {12})*)$", Line.__doc__, re.MULTILINE))
    every = {**{name: COMMON[name] for name in ("event", "at")}, **told, **{n: COMMON[n] for n in ("run_id", "cpu_s")}}
    return [f"| `{name}` | {' '.join(text.split()).removesuffix('.')} |" for name, text in every.items()]


def test_each_metric_is_explained_as_the_exporter_does() -> None:
    page = PAGE.read_text()
    assert [line for line in page.splitlines() if line.startswith("| `lakehouse_")] == metrics()


def test_each_field_is_explained_as_the_code_does() -> None:
    page = PAGE.read_text()
    table = page.partition("| field | what it says |\n| --- | --- |\n")[2].partition("\n\n")[0]
    assert table.splitlines() == fields()
