"""A mart says whether the cache has it, for how long and how much of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Mart, Serve
from dagster_project.errors import ContractError
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

ANCHOR = "      - {property: partitionedBy, value: [event_date, region]}\n"
HOUR = dt.timedelta(hours=1)


def loaded(folder: Path, serve: str = "", *, sla: str = "", more: str = "") -> Mart:
    option = f"      - {{property: serve, value: {serve}}}\n" if serve else ""
    files = {
        "readings.odcs.yaml": CONTRACT,
        "levels.odcs.yaml": MART.replace(ANCHOR, ANCHOR + option + more) + sla,
        "levels.sql": SQL,
    }
    return load_catalog(write_project(folder, files)).mart("levels")


def test_windows_and_figures_by_day_are_served_unless_told_otherwise(tmp_path: Path) -> None:
    assert loaded(tmp_path).serve == Serve(ttl=HOUR, max_rows=10_000)
    assert loaded(tmp_path, "false").serve is None
    cp = "      - {property: consistency, value: cp}\n"
    assert loaded(tmp_path, more=cp).serve is None
    assert loaded(tmp_path, "true", more=cp).serve == Serve(ttl=HOUR)


def test_how_long_and_how_much(tmp_path: Path) -> None:
    assert loaded(tmp_path, "{ttl: PT10M, maxRows: 5000}").serve == Serve(ttl=dt.timedelta(minutes=10), max_rows=5000)
    assert loaded(tmp_path, "{maxRows: 7}").serve == Serve(ttl=HOUR, max_rows=7)


@pytest.mark.parametrize(
    ("value", "unit", "ttl"),
    [(20, "minutes", dt.timedelta(minutes=20)), (1, "seconds", dt.timedelta(minutes=1)), (300, "days", dt.timedelta(days=1))],
)  # fmt: skip
def test_a_copy_lives_as_long_as_rows_may_be_old_within_bounds(
    tmp_path: Path, value: int, unit: str, ttl: dt.timedelta
) -> None:
    sla = f"slaProperties:\n  - {{property: freshness, value: {value}, unit: {unit}, element: levels.event_date}}\n"
    assert loaded(tmp_path, sla=sla).serve == Serve(ttl=ttl)


@pytest.mark.parametrize(
    ("serve", "found", "instead"),
    [
        ("often", "serve 'often'", "true, false, or {ttl: PT10M, maxRows: 5000}"),
        ("{ttl: PT10M, rows: 5}", "rows of serve", "ttl and maxRows only"),
        ("{maxRows: 0}", "0", "a whole number of at least 1"),
        ("{maxRows: 100001}", "maxRows 100001", "at most 100000: what is larger is read from Gold"),
        ("{ttl: soon}", "'soon'", "a positive ISO 8601 duration, such as PT10M or P7D"),
        ("{ttl: PT59S}", "ttl 'PT59S'", "a duration from PT1M to P1D"),
        ("{ttl: P2D}", "ttl 'P2D'", "a duration from PT1M to P1D"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, serve: str, found: str, instead: str) -> None:
    with pytest.raises(ContractError) as refused:
        loaded(tmp_path, serve)
    line = 1 + MART[: MART.index(ANCHOR)].count("\n") + 1
    place = f"levels.odcs.yaml:{line}: schema[0].customProperties[2]"
    assert f"{place}: {found}\n    write instead: {instead}" in refused.value.found


def test_a_change_of_it_touches_no_row(tmp_path: Path) -> None:
    (change,) = compare(loaded(tmp_path / "a"), loaded(tmp_path / "b", "false"))
    assert (change.path, change.verdict) == ("serve", "additive")
