"""Each guarantee names a test, and each test that it names exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "guarantees.md"
# `tests/folder/test_file.py::test_name`, or a whole file where all of it is the proof.
NODE = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def promises(page: str) -> Iterator[str]:
    """Lines of the tables, but for their heads."""
    for line in page.splitlines():
        if line.startswith("|") and not line.startswith(("| ---", "| promise", "| not promised")):
            yield line


def missing(line: str) -> list[str]:
    """Tests that a line names and that do not exist; the line itself where it names none."""
    named = NODE.findall(line)
    if not named:
        return [line]
    return [f"{path}::{name}" for path, name in named if not exists(REPOSITORY / path, name)]


def exists(path: Path, name: str) -> bool:
    if not path.is_file():
        return False
    functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}
    return name in functions if name else any(found.startswith("test_") for found in functions)


def test_every_guarantee_names_a_test_that_exists() -> None:
    lines = list(promises(PAGE.read_text()))

    assert len(lines) > 20
    assert [problem for line in lines for problem in missing(line)] == []


@pytest.mark.parametrize(
    "line",
    [
        "| nothing is lost | believe us |",
        "| nothing is lost | `tests/unit/docs/test_guarantees.py::test_of_another_world` |",
        "| nothing is lost | `tests/unit/docs/test_no_such_file.py` |",
    ],
)
def test_a_guarantee_without_a_test_is_found(line: str) -> None:
    assert missing(line)
