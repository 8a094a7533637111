"""The page on configuration says what the code says: each variable, what it may be, and what production requires."""

from __future__ import annotations

import re
from typing import get_args

from pydantic.fields import FieldInfo

from dagster_project.settings import REPOSITORY
from dagster_project.variables.rules import problems
from dagster_project.variables.variables import NAMES, Variables

PAGE = REPOSITORY / "docs" / "configuration.md"
VARIABLE = re.compile(r"\b(?:LAKEHOUSE|KAFKA|REDIS|SCHEMA_REGISTRY|AWS|OTEL|DAGSTER)_[A-Z][A-Z_]*[A-Z]\b")
# What the code names and people need not set: words of Dagster, of delta-rs, of OpenTelemetry's own, and of a supervisor.
OTHERS = {
    "DAGSTER_HOME",
    "AWS_ALLOW_HTTP",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_SERVICE_NAME",
    "LAKEHOUSE_SUPERVISED",
}


def row(name: str, field: FieldInfo) -> str:
    choices = [one for one in get_args(field.annotation) if isinstance(one, str)]
    values = ", ".join(f"`{one}`" for one in sorted(choices, key=lambda one: one != field.default))
    return f"| `{name.upper()}` | {field.description} | {values} |"


def test_every_variable_is_in_the_table_as_the_code_has_it() -> None:
    table = [line for line in PAGE.read_text().splitlines() if VARIABLE.match(line, len("| `"))]
    assert table == [row(name, field) for name, field in Variables.model_fields.items()]


def test_what_production_requires_is_what_the_page_says() -> None:
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith("| required |"))
    refused = [error.found for error in problems(Variables.read({"LAKEHOUSE_PROFILE": "production"}))]
    missing = {name for found in refused for name in VARIABLE.findall(found) if "is not set" in found}
    assert set(VARIABLE.findall(line)) == missing - {"LAKEHOUSE_PROFILE"}


def test_the_code_reads_no_other_variable() -> None:
    named = {
        name
        for path in (REPOSITORY / "dagster_project").rglob("*.py")
        for name in re.findall(r"\"([A-Z_]+)\"", path.read_text())
        if VARIABLE.fullmatch(name)
    }
    assert named - OTHERS <= set(NAMES)
    assert len(named) > 10
