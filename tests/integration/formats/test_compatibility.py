"""What a real registry says of each kind of change, beside what `contract diff` says, and that a person is told of both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.contract.loader import load_contract
from dagster_project.contract.model import Dataset, Format
from dagster_project.errors import ContractError
from dagster_project.registry.schemas import Registry
from tests.integration.lake import unique
from tests.unit.contract.test_diff import BASE, PAIRS

# By kind of change: what an Avro registry takes as a new version, and what it refuses. Nothing else is in a schema.
TAKEN = {
    "added optional", "removed", "renamed", "widened decimal", "narrowed decimal", "more decimals, fewer digits",
    "nested field added", "nested field removed", "nested field widened", "nested field renamed", "nested object added",
}  # fmt: skip
REFUSED = {
    "added required", "widened integer", "another type", "required now", "optional now", "nested field added, required",
    "nested field required now",
}  # fmt: skip
# JSON Schema has one kind of number, and any object may have any property.
UNSEEN_IN_JSON = {
    "widened integer", "widened decimal", "narrowed decimal", "more decimals, fewer digits", "nested field widened",
}  # fmt: skip


@pytest.fixture
def versions(tmp_path: Path) -> Callable[[str, Format], tuple[Dataset, Dataset]]:
    """A contract before and after a kind of change, for a topic of its own."""

    def load(text: str, topic: str, written: Format) -> Dataset:
        path = tmp_path / "sales.odcs.yaml"
        path.write_text(text)
        found = load_contract(path)
        assert isinstance(found, Dataset)
        return replace(found, topic=replace(found.topic, name=topic, format=written, wire_format="confluent"))

    def both(name: str, written: Format) -> tuple[Dataset, Dataset]:
        old, new, *_ = PAIRS[name]
        topic = unique("sales")
        return load(BASE, topic, written), load(BASE.replace(old, new, 1), topic, written)

    return both


@pytest.mark.parametrize("written", ["avro", "json"])
def test_each_kind_of_change(
    registry: str, versions: Callable[[str, Format], tuple[Dataset, Dataset]], written: Format
) -> None:
    client = Registry(registry)
    taken, refused = (TAKEN, REFUSED) if written == "avro" else (set[str](), (TAKEN | REFUSED) - UNSEEN_IN_JSON)
    for name, (_, _, verdict, path, what) in PAIRS.items():
        before, after = versions(name, written)
        first = client.register(before)
        assert (first.new, first.changes) == (True, ()), name
        if name in refused:
            with pytest.raises(ContractError) as error:
                client.register(after)
            remedy = error.value.remedy
            # What is additive for tables and readers is refused of JSON Schema alone, and the error says so.
            assert verdict == "breaking" or written == "json", name
            expected = "even an optional column" if written == "json" else f"breaking, too: {path}: {what}"
            assert expected in remedy, name
            continue
        second = client.register(after)
        assert second.new == (name in taken), name
        found = [(change.verdict, change.path, change.what) for change in second.changes]
        assert found == ([(verdict, path, what)] if name in taken else []), name


def test_the_command_tells_what_the_registry_takes_and_the_tables_do_not(
    registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "contracts").mkdir()
    contract = tmp_path / "contracts" / "sales.odcs.yaml"
    text = BASE.replace("format: json", "format: avro").replace("shop.sales", unique("sales"))
    for name, value in {"LAKEHOUSE_PROJECT": str(tmp_path), "SCHEMA_REGISTRY_URL": registry}.items():
        monkeypatch.setenv(name, value)

    def register(old: str, new: str) -> Result:
        contract.write_text(text.replace(old, new, 1))
        return CliRunner().invoke(app, ["contract", "register", "sales"])

    assert "breaking" not in register("", "").output
    added, _, *_ = PAIRS["added optional"]
    grown = register(added, PAIRS["added optional"][1])
    assert (grown.exit_code, "additive  note: added, optional" in grown.output) == (0, True)
    assert "the tables" not in grown.output
    wider = register(*PAIRS["widened decimal"][:2])
    assert wider.exit_code == 0
    assert "breaking  amount: widened: decimal(10, 2) → decimal(14, 4)" in wider.output
    assert "the registry takes it; the tables or their readers do not" in wider.output


def test_a_schema_that_somebody_else_registered_is_no_version_to_compare_with(
    registry: str, versions: Callable[[str, Format], tuple[Dataset, Dataset]]
) -> None:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

    before, _ = versions("added optional", "avro")
    theirs = """{"type": "record", "name": "sales", "namespace": "shop", "fields": [
        {"name": "id", "type": ["string", "null"], "default": "x"}]}"""
    with SchemaRegistryClient({"url": registry}) as client:
        client.register_schema(before.topic.subject, Schema(theirs, "AVRO"))

    with pytest.raises(ContractError, match="additive, with optional columns only"):
        Registry(registry).register(before)
