"""A name in a contract stays a name: in no table's path, topic, file or SQL does it become anything else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.contract.loader import load_catalog
from dagster_project.errors import ContractError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from tests.hostile import CONTRACT
from tests.unit.lakes import write_project

ROOT = "/lake"
# What has ever led out of a folder, a string or a statement.
HOSTILE = ["../../etc", "..", ".", "/etc/passwd", "a/b", "a\\b", "a\n", "\na", "a\0b", 'a"; DROP TABLE x; --', "a' OR '1'='1", "a%2Fb", "a%2e%2e",
           "${HOME}", "{object}", "a b", "A", "ä", "ａ", "a\u202eb", "a" * 64, "a" * 300, "", "-rf", "~", "*", "CON", "_delta_log", "a=b", "s3://x/y"]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=40),
    st.builds("{}{}{}".format, st.sampled_from(["a", "orders", ".."]), st.sampled_from(["/", "\n", "\0", '"', "'", ";", ""]), st.text(max_size=9)),
)  # fmt: skip


def contract(**names: str) -> str:
    """A contract that is right but for some names: of the dataset, its topic, a column, a region, or its version."""
    document: dict[str, Any] = yaml.safe_load(CONTRACT)
    table = document["schema"][0]
    table["name"] = names.get("dataset", "probes")
    table["physicalName"] = names.get("topic", "test.probes")
    table["properties"][-1]["name"] = names.get("column", "place")
    table["properties"][2]["enum"] = [{"value": names.get("region", "eu")}]
    document["version"] = names.get("version", "1.0.0")
    return json.dumps(document)


@pytest.mark.parametrize("what", ["dataset", "topic", "column", "region", "version"])
@settings(max_examples=150)
@given(name=NAMES)
@example(name="orders\n")
@example(name="..")
def test_what_is_taken_for_a_name_is_one_everywhere(
    tmp_path_factory: pytest.TempPathFactory, what: str, name: str
) -> None:
    try:
        folder = write_project(tmp_path_factory.mktemp("names"), {"one.odcs.yaml": contract(**{what: name})})
    except UnicodeEncodeError:  # a lone surrogate is in no file
        return
    try:
        (dataset,) = load_catalog(folder).datasets
    except ContractError:
        return
    storage = Storage(uri=ROOT)
    for spec in (specs.bronze(dataset), specs.silver(dataset), specs.quarantine(dataset), specs.ledger(dataset)):
        path = Path(storage.table(spec.layer, spec.name))
        assert path == Path(ROOT) / spec.layer / path.name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", path.name)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,249}", dataset.topic.name)
    assert dataset.topic.name not in {".", ".."}
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", region) for region in dataset.regions)
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", column.name) for column in dataset.columns)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_draft_of_such_a_name_writes_no_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "deep" / "project"
    (project / "contracts").mkdir(parents=True)
    sample = tmp_path / "sample.ndjson"
    sample.write_text('{"id": "a", "at": "2026-01-01T00:00:00Z", "region": "eu"}\n')
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(project))
    before = sorted(tmp_path.rglob("*"))

    answer = CliRunner().invoke(app, ["contract", "new", "--from", str(sample), "--", name])

    assert answer.exit_code != 0
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_a_message_brings_is_no_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only regions that the contract lists have table partitions, and a date is one of the calendar."""
    from dagster_project.ingest.bronze import place
    from dagster_project.ingest.decode import Decoder
    from dagster_project.ingest.fetch import Fetched
    from tests.batches import batch
    from tests.hostile import Record
    from tests.unit.security.hostile import open_

    folder = write_project(tmp_path_factory.mktemp("regions"), {"one.odcs.yaml": contract()})
    (dataset,) = load_catalog(folder).datasets
    regions = [name for name in HOSTILE if "\0" not in name]
    dates = ["../../etc", "2026-01-02/../x", "0000-00-00", "9999-12-31T23:59:59Z", "-2026-01-01", "2026-01-02\n"]
    events = [{"id": "a", "at": "2026-01-02T00:00:00Z", "region": region} for region in regions]
    events += [{"id": "a", "at": at, "region": "eu"} for at in dates]
    sent = batch([Record(place=number, content=json.dumps(event).encode()) for number, event in enumerate(events)])
    rows = place(dataset, Fetched(messages=open_(sent).messages, next={}, caught_up=True), Decoder(dataset.columns))
    assert rows["_kind"].unique().to_list() == [specs.POISON]
    assert rows["region"].null_count() == rows["event_date"].null_count() == len(rows)
