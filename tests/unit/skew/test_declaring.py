"""`hotKeys` of a contract: what it may say, and the message for what it may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import HotKeys
from dagster_project.errors import ContractError
from tests.unit.lakes import CONTRACT, write_project

APPEND = CONTRACT.replace("writeMode, value: upsert", "writeMode, value: append").replace(
    "    format: json\n", "    format: json\n    customProperties:\n      - {property: partitions, value: 8}\n"
)


def declared(text: str, value: str) -> str:
    lateness = "      - {property: allowedLateness, value: PT10M}\n"
    assert lateness in text
    return text.replace(lateness, f"{lateness}      - {{property: hotKeys, value: {value}}}\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{column: id}", HotKeys(column="id")),
        ("{column: level, values: [7], salts: 2}", HotKeys(column="level", values=("7",), salts=2)),
        ("{column: id, values: [bot-1, bot-2]}", HotKeys(column="id", values=("bot-1", "bot-2"), salts=8)),
    ],
)
def test_a_column_is_watched_and_known_values_are_salted(tmp_path: Path, value: str, expected: HotKeys) -> None:
    (dataset,) = load_catalog(write_project(tmp_path, {"readings.odcs.yaml": declared(APPEND, value)})).datasets
    assert dataset.hot_keys == expected


WRONG = {
    "no object": (APPEND, "[id]", "hotKeys ['id']", "{column: visitor_id"),
    "option": (APPEND, "{column: id, salt: 8}", "hotKeys {'column': 'id', 'salt': 8}", "{column: visitor_id"),
    "column": (APPEND, "{column: visitor}", "hotKeys column 'visitor'", "the name of a string or integer property"),
    "type": (APPEND, "{column: at}", "hotKeys column 'at'", "the name of a string or integer property"),
    "values": (APPEND, "{column: id, values: bot-1}", "hotKeys values 'bot-1'", "a list of the column's values"),
    "one salt": (APPEND, "{column: id, values: [b], salts: 1}", "hotKeys salts 1", "from 2 to the topic's Kafka partitions, 8"),
    "more salts than partitions": (APPEND, "{column: id, values: [b], salts: 9}", "hotKeys salts 9", "Kafka partitions, 8"),
    "upsert": (APPEND.replace("value: append", "value: upsert"), "{column: id}", "writeMode upsert", "append and delete"),
    "compacted": (APPEND.replace("value: 8}\n", "value: 8}\n      - {property: cleanupPolicy, value: compact}\n"), "{column: id}", "cleanupPolicy compact", "append and delete"),
    "confidential": (APPEND.replace("{name: level,", "{name: level, classification: confidential,"), "{column: level}", "column 'level', which is confidential", "a column in the clear"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused(tmp_path: Path, case: str) -> None:
    text, value, found, expected = WRONG[case]
    with pytest.raises(ContractError) as refused:
        load_catalog(write_project(tmp_path, {"readings.odcs.yaml": declared(text, value)}))
    problem, remedy = refused.value.found.split("write instead: ")
    assert found in problem
    assert expected in remedy
