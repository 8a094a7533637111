"""Two major versions of one dataset among the contracts of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.contract.versions import counterparts
from dagster_project.errors import ContractError
from tests.unit.lakes import CONTRACT, write_project

LEVEL = "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}"
RENAMED = "{name: height, logicalType: integer, customProperties: [{property: renamedFrom, value: level}]}"
SECOND = CONTRACT.replace("version: 1.0.0", "version: 2.0.0")


def load(folder: Path, *texts: str) -> Catalog:
    return load_catalog(write_project(folder, {f"{place}.odcs.yaml": text for place, text in enumerate(texts)}))


def test_the_newer_one_has_tables_of_its_own_in_whatever_order_files_are_read(tmp_path: Path) -> None:
    catalog = load(tmp_path, SECOND.replace(LEVEL, RENAMED), CONTRACT)
    (older,), (newer,) = catalog.datasets, catalog.successors
    assert [(item.version, item.table, item.reads_payloads) for item in (older, newer)] == [
        ("1.0.0", "readings", False),
        ("2.0.0", "readings_v2", True),
    ]
    assert catalog.versions("readings") == (older, newer)
    assert catalog.dataset("readings_v2") is newer
    assert counterparts(newer, older)["height"] == "level"
    assert counterparts(older, newer)["level"] == "height"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("physicalName: test.readings", "physicalName: test.others", "topic test.others, and test.readings"),
        ("{property: partitionTime, value: placed}", "{property: partitionTime, value: at}", "partitionTime"),
        ("{value: us}", "{value: apac}", "regions eu, apac, and eu, us"),
        ("{property: writeMode, value: upsert}", "{property: writeMode, value: append}", "writeMode"),
        (LEVEL, RENAMED.replace("value: level", "value: depth"), "renamed from 'depth'"),
        (LEVEL, RENAMED.replace("value: level", "value: id"), "renamed from 'id'"),
        (LEVEL, f"{LEVEL}\n      - {RENAMED}", "which is a column, too"),
        ("{name: id, logicalType: string", "{name: id, logicalType: integer", "type of id"),
        ("version: 2.0.0", "version: 1.9.0", "'readings' is already taken"),
    ],
)
def test_what_cannot_be_released_beside_the_older_one_is_refused(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in SECOND
    with pytest.raises(ContractError) as refused:
        load(tmp_path, CONTRACT, SECOND.replace(old, new))
    assert named in refused.value.found


def test_three_major_versions_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="third major version"):
        load(tmp_path, CONTRACT, SECOND, SECOND.replace("2.0.0", "3.0.0"))


def test_another_dataset_cannot_have_the_name_of_a_versions_table(tmp_path: Path) -> None:
    other = CONTRACT.replace("name: readings\n", "name: readings_v2\n").replace("test.readings", "test.others")
    with pytest.raises(ContractError, match="already taken"):
        load(tmp_path, CONTRACT, SECOND, other)
