"""A newer version of a dataset with sensitive columns: no clear value in its tables, and who is forgotten is gone from both."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.serving import written
from dagster_project.lake.table import Table
from dagster_project.lifecycle.erase import erase
from dagster_project.lifecycle.find import find
from dagster_project.lifecycle.search import search
from dagster_project.lifecycle.subject import Subject
from dagster_project.refine.comparison import compare_rows
from dagster_project.refine.rollout import start, take_over
from dagster_project.refine.silver import refine
from dagster_project.settings import PSEUDONYM_KEYS
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, reading, write_project

SUBJECT, OTHER = "subject-1", "another-2"
HIDDEN = CONTRACT.replace(
    "{name: id, logicalType: string,",
    "{name: id, logicalType: string, classification: confidential,"
    " customProperties: [{property: protection, value: pseudonymise}],",
)
NEWER = HIDDEN.replace("version: 1.0.0", "version: 2.0.0").replace(
    "{name: level, logicalType: integer,",
    "{name: height, logicalType: integer, customProperties: [{property: renamedFrom, value: level}],",
)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv(PSEUDONYM_KEYS, f"a:{base64.b64encode(b'a' * 32).decode()}")
    files = {"readings.odcs.yaml": HIDDEN, "v2.odcs.yaml": NEWER, "levels.odcs.yaml": MART, "levels.sql": SQL}
    return Lake.at(tmp_path / "lake", catalog=load_catalog(write_project(tmp_path / "contracts", files)))


def both_written(lake: Lake) -> None:
    lake.arrive(reading(0, SUBJECT, level=1), reading(1, OTHER, level=2), reading(2, SUBJECT, level=-1))
    start(lake.catalog, "readings", storage=lake.storage)
    for version in written(lake.catalog, "readings", storage=lake.storage):
        list(refine(version, storage=lake.storage, keys=None))
    take_over(lake.catalog, "readings", back=False, storage=lake.storage)
    lake.compute()


def ids(lake: Lake, version: Dataset) -> set[str]:
    silver = Table.find(specs.silver(version), storage=lake.storage)
    assert silver is not None
    return set(silver.rows().select("id").collect().to_series())


def test_both_versions_have_the_same_pseudonyms_and_no_clear_value(lake: Lake) -> None:
    both_written(lake)
    older, newer = lake.catalog.versions("readings")
    assert compare_rows(older, newer, storage=lake.storage, sample=5).same
    for version in (older, newer):
        names = ids(lake, version)
        assert len(names) == 2
        assert not {SUBJECT, OTHER} & names


def test_a_subject_is_forgotten_in_both_versions_and_their_quarantines(lake: Lake) -> None:
    both_written(lake)
    subject = Subject.of(lake.dataset, {"id": SUBJECT})
    assert search(subject, storage=lake.storage, report=lambda _done, _total: None).hits
    found = find(lake.dataset, subject, storage=lake.storage)
    done = erase(
        lake.dataset, subject, found, by="me", catalog=lake.catalog, storage=lake.storage, report=lambda _: None
    )
    assert {name: rows for name, rows in done.rows.items() if name.startswith("silver")} == {
        "silver/readings": 1,
        "silver/readings_v2": 1,
    }
    assert done.rows["quarantine/readings_v2"] == 1
    assert not search(subject, storage=lake.storage, report=lambda _done, _total: None).hits
    assert [len(ids(lake, version)) for version in lake.catalog.versions("readings")] == [1, 1]
