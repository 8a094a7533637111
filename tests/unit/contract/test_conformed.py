"""A mart says which of its columns are those of other marts; what cannot be is refused when the contracts are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Conformed
from dagster_project.errors import ContractError
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

PLACES = """\
apiVersion: v3.2.0
kind: DataContract
id: places
name: Places
version: 1.0.0
status: active
schema:
  - name: places
    physicalType: table
    logicalType: object
    customProperties:
      - {property: inputs, value: []}
      - {property: partitionedBy, value: []}
    properties:
      - {name: region, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: number, logicalType: integer, required: true}
team: {name: testers}
"""
SUMS = MART.replace("levels", "sums").replace("Levels", "Sums")
ANCHOR = "      - {property: partitionedBy, value: [event_date, region]}\n"


def project(folder: Path, conformed: str) -> Path:
    sums = SUMS.replace(ANCHOR, f"{ANCHOR}      - {{property: conformedTo, value: {conformed}}}\n")
    files = {
        "readings.odcs.yaml": CONTRACT,
        "levels.odcs.yaml": MART,
        "levels.sql": SQL,
        "places.odcs.yaml": PLACES,
        "places.sql": "SELECT 'eu' AS region, 1 AS number",
        "sums.odcs.yaml": sums,
        "sums.sql": SQL,
    }
    return write_project(folder, files)


def test_keys_and_measures_are_of_other_marts(tmp_path: Path) -> None:
    catalog = load_catalog(project(tmp_path, "{region: places.region, total: levels.total}"))
    assert catalog.mart("sums").conformed == (
        Conformed(column="region", mart="places", to="region"),
        Conformed(column="total", mart="levels", to="total"),
    )


@pytest.mark.parametrize(
    ("conformed", "found", "expected"),
    [
        ("region", "conformedTo 'region'", "{region: dim_region.region}"),
        ("{region: places}", "conformedTo {'region': 'places'}", "{region: dim_region.region}"),
        ("{place: places.region}", "conformedTo of 'place'", "a property of this mart: event_date, readings"),
        ("{region: palaces.region}", "region: palaces.region", "a column of another mart (levels, places, sums)"),
        ("{region: places.name}", "region: places.name", "a column of another mart"),
        ("{total: sums.readings}", "total: sums.readings", "a column of another mart"),
        ("{region: places.number}", "region: places.number", "a column of type string; that one is bigint"),
        ("{total: levels.region}", "total: levels.region", "a sum of integers or decimals"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, conformed: str, found: str, expected: str) -> None:
    with pytest.raises(ContractError) as refused:
        load_catalog(project(tmp_path, conformed))
    text = str(refused.value)
    assert found in text
    assert expected in text


def test_to_share_something_else_breaks_nobody(tmp_path: Path) -> None:
    mart = load_catalog(project(tmp_path, "{region: places.region}")).mart("sums")
    (change,) = compare(mart, replace(mart, conformed=()))
    assert (change.verdict, change.path) == ("additive", "conformed to")
