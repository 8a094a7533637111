"""Each threat names what stops it, and a test that exists."""

from __future__ import annotations

import pytest

from dagster_project.settings import REPOSITORY
from tests.unit.docs.test_guarantees import missing

PAGE = REPOSITORY / "docs" / "security.md"


def threats(page: str) -> list[str]:
    """Lines of the tables with tests, but for their heads."""
    tables = page.split("| threat | what stops it | shown by |")[1:]
    return [line for table in tables for line in table.partition("\n\n")[0].splitlines()[2:]]


def problems(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    return missing(line) if len(cells) == 3 and all(cells) else [line]


def test_every_threat_names_what_stops_it_and_a_test_that_exists() -> None:
    found = threats(PAGE.read_text())
    assert len(found) > 20
    assert [problem for line in found for problem in problems(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "| a bomb | a limit | believe us |",
        "| a bomb | a limit | `tests/unit/docs/test_security.py::test_of_another_world` |",
        "| a bomb | | `tests/unit/docs/test_security.py::test_a_threat_without_a_test_is_found` |",
        "| a bomb | a limit |",
    ],
)
def test_a_threat_without_a_test_is_found(line: str) -> None:
    assert problems(line)
