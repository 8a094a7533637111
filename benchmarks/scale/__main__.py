"""`python -m benchmarks.scale [--check]`: write the tables of docs/scale.md anew, or fail where they differ."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.scale.figures import load
from benchmarks.scale.page import tables
from dagster_project.cost.prices import load_prices
from dagster_project.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "scale.md"


def main(page: Path = PAGE) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a table differs")
    check: bool = parser.parse_args().check
    before = page.read_text(encoding="utf-8")
    # List prices, whatever book this machine is set to.
    after = filled(before, tables(load(), load_prices()))
    if after == before:
        return 0
    if check:
        sys.stderr.write(f"{page.name}: its tables are not those of the simulation; run `make scale`\n")
        return 1
    page.write_text(after, encoding="utf-8")
    return 0


def filled(text: str, found: Mapping[str, str]) -> str:
    """A page with its tables between their marks; each has a place."""
    for name, table in found.items():
        begin, end = f"<!-- scale: {name} -->", f"<!-- end of {name} -->"
        mark = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        assert len(mark.findall(text)) == 1, f"{name} has no place in the page"
        text = mark.sub(lambda _, table=table, begin=begin, end=end: f"{begin}\n{table}\n{end}", text)
    return text


if __name__ == "__main__":
    sys.exit(main())
