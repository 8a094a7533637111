"""What a contract says of sensitive columns: what becomes of them from Silver on, and what it cannot ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.loader import load_catalog, load_contract
from dagster_project.contract.model import Dataset
from dagster_project.errors import ContractError
from dagster_project.pages.words import lines
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

LEVEL = "{name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}"
NAME = "readings.odcs.yaml"


def classified(text: str, **properties: str) -> str:
    """A property more: a classified one with custom properties."""
    custom = ", ".join(f"{{property: {name}, value: {value}}}" for name, value in properties.items())
    return f"{{name: who, {text}" + (f", customProperties: [{custom}]" if custom else "") + "}"


def contract(item: str) -> str:
    return CONTRACT.replace(f"- {LEVEL}", f"- {LEVEL}\n      - {item}")


def loaded(folder: Path, item: str) -> Dataset:
    return load_catalog(write_project(folder, {NAME: contract(item)})).dataset("readings")


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ContractError) as refused:
        load_catalog(write_project(folder, {NAME: text}))
    return refused.value.found


@pytest.mark.parametrize(
    ("item", "protection", "domain"),
    [
        (classified("logicalType: string, classification: confidential"), "pseudonymise", "who"),
        (classified("logicalType: integer, classification: restricted"), "pseudonymise", "who"),
        (classified("logicalType: date, classification: confidential"), "drop", ""),
        (classified("logicalType: array, items: {logicalType: string}, classification: confidential"), "drop", ""),
        (classified("logicalType: string, classification: confidential", protection="drop"), "drop", ""),
        (classified("logicalType: string", protection="pseudonymise", pseudonymDomain="customer"), "pseudonymise", "customer"),
        (classified("logicalType: string, classification: internal"), "", ""),
    ],
)  # fmt: skip
def test_a_classified_column_is_protected_as_its_type_allows_or_as_it_says(
    tmp_path: Path, item: str, protection: str, domain: str
) -> None:
    dataset = loaded(tmp_path, item)
    column = dataset.column("who")
    assert (column.protection, column.pseudonym_domain) == (protection, domain)
    published = {column.name: column for column in dataset.published}
    assert ("who" in published) is (protection != "drop")
    if protection == "pseudonymise":
        assert published["who"].type.kind == "string"
    assert (
        dataset.published is dataset.columns
        or len(dataset.protected)
        or published.keys() == {column.name for column in dataset.columns}
    )


REFUSED = {
    "unknown": (contract(classified("logicalType: string", protection="hash")), "protection 'hash'"),
    "off": (contract(classified("logicalType: string, classification: confidential", protection="none")), "protection 'none'"),
    "type": (contract(classified("logicalType: number", protection="pseudonymise")), "a pseudonym of a number"),
    "domain": (contract(classified("logicalType: string, classification: confidential", pseudonymDomain="A b")), "pseudonymDomain 'A b'"),
    "domain of what is dropped": (contract(classified("logicalType: string", protection="drop", pseudonymDomain="who")), "pseudonymDomain 'who'"),
    "event time": (CONTRACT.replace("{name: at, ", "{name: at, classification: confidential, "), "at is the event time and cannot be protected"),
    "partition time": (CONTRACT.replace("{name: placed, ", "{name: placed, classification: confidential, "), "placed is the partition time"),
    "region": (CONTRACT.replace("{name: region, ", "{name: region, classification: restricted, "), "region is the region"),
    "key": (CONTRACT.replace("primaryKeyPosition: 1}", "primaryKeyPosition: 1, customProperties: [{property: protection, value: drop}]}"), "id of the key is dropped"),
    "nested": (contract("{name: who, logicalType: object, properties: [{name: mail, logicalType: string, classification: confidential}]}"), "who.mail is confidential, inside of who"),
    "nested property": (contract("{name: who, logicalType: string, customProperties: [{property: protections, value: drop}]}"), "'protections'"),
    "unique": (contract(classified("logicalType: date, unique: true, classification: confidential")), "'who' is unique and dropped"),
    "rule of values": (contract("{name: who, logicalType: string, classification: confidential, quality: [{id: odd, metric: invalidValues, arguments: {validValues: [a]}, mustBe: 0}]}"), "invalidValues of who, which Silver has as a pseudonym"),
    "rule of what is dropped": (contract("{name: who, logicalType: date, classification: confidential, quality: [{id: odd, metric: nullValues, mustBe: 0}]}"), "nullValues of a property that is not there"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_protected_is_refused_with_what_to_write_instead(tmp_path: Path, name: str) -> None:
    text, found = REFUSED[name]
    refused = refusal(tmp_path, text)
    assert found in refused
    assert "write instead: " in refused


def test_a_mart_cannot_protect_what_it_reads(tmp_path: Path) -> None:
    mart = MART.replace("{name: total, logicalType: integer}", "{name: total, logicalType: integer, customProperties: [{property: protection, value: drop}]}")  # fmt: skip
    with pytest.raises(ContractError, match="protection in a mart"):
        load_catalog(write_project(tmp_path, {NAME: CONTRACT, "levels.odcs.yaml": mart, "levels.sql": SQL}))


def reference(key: str) -> str:
    rule = f"{{id: known, type: custom, engine: platform, implementation: {{references: {{column: who, dataset: others, key: {key}}}}}}}"
    return f"    quality:\n      - {rule}\n"


def test_columns_that_refer_to_each_other_have_one_domain(tmp_path: Path) -> None:
    who = "{name: who, logicalType: string, classification: confidential}"
    other = CONTRACT.replace("readings", "others").replace(
        "{name: id, ", "{name: id, classification: confidential, customProperties: [{property: pseudonymDomain, value: who}], "
    )  # fmt: skip
    own = contract(who).replace("team:", reference("id") + "team:")
    load_catalog(write_project(tmp_path / "one", {NAME: own, "others.odcs.yaml": other}))
    alone = other.replace("value: who", "value: somebody")
    with pytest.raises(ContractError, match=r"refers to others\.id, which has other pseudonyms, or none"):
        load_catalog(write_project(tmp_path / "two", {NAME: own, "others.odcs.yaml": alone}))


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        (classified("logicalType: string", protection="drop"), classified("logicalType: string"), "dropped → in the clear"),
        (classified("logicalType: string"), classified("logicalType: string", protection="drop"), "in the clear → dropped"),
        (
            classified("logicalType: string", protection="pseudonymise"),
            classified("logicalType: string", protection="pseudonymise", pseudonymDomain="else"),
            "a pseudonym of domain who → a pseudonym of domain else",
        ),
    ],
)  # fmt: skip
def test_another_protection_is_a_breaking_change(tmp_path: Path, before: str, after: str, what: str) -> None:
    old, new = (
        load_contract(write_project(tmp_path / name, {NAME: contract(item)}) / NAME)
        for name, item in (("old", before), ("new", after))
    )
    (change,) = compare(old, new)
    assert (change.verdict, change.path) == ("breaking", "who")
    assert what in change.what


def test_the_page_of_a_contract_says_what_becomes_of_a_column(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, classified("logicalType: string, classification: confidential"))
    (line,) = (line for line in lines(dataset.columns) if line.path == "who")
    assert line.classification == "confidential, a pseudonym from Silver on"
