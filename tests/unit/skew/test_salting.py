"""Events are keyed by the column that may be uneven, and those of a declared hot value have a salt beside it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from dagster_project.contract.model import Catalog, Dataset, HotKeys
from dagster_project.sources.events import Event
from dagster_project.sources.salting import keying_of


def event(visitor: object, key: bytes | None = b"view-1") -> Event:
    value = json.dumps({"view": "view-1", "visitor": visitor}).encode()
    return Event(key=key, value=value, headers=(), kind="valid")


@pytest.fixture
def dataset(catalog: Catalog) -> Dataset:
    return replace(catalog.datasets[0], hot_keys=HotKeys(column="visitor", values=("bot", "7"), salts=3))


def test_a_hot_value_has_as_many_keys_as_salts_about_evenly(dataset: Dataset) -> None:
    key = keying_of(dataset)
    found = Counter(key(event("bot", key=f"view-{number}".encode())) for number in range(3_000))
    assert found.keys() == {b"bot|0", b"bot|1", b"bot|2"}
    assert min(found.values()) > 900
    assert {key(event(7, key=f"view-{number}".encode())) for number in range(99)} == {b"7|0", b"7|1", b"7|2"}


def test_copies_of_an_event_have_one_key(dataset: Dataset) -> None:
    key = keying_of(dataset)
    assert key(event("bot")) == key(replace(event("bot"), kind="duplicate", late=True))
    assert {key(event("bot", key=None)) for _ in range(9)} < {b"bot|0", b"bot|1", b"bot|2"}


def test_all_else_has_one_key_for_one_value(dataset: Dataset) -> None:
    numbered = [f"view-{number}".encode() for number in range(9)]
    key = keying_of(dataset)
    assert {key(event("ada", key=number)) for number in numbered} == {b"ada"}
    watched = keying_of(replace(dataset, hot_keys=HotKeys(column="visitor")))
    assert {watched(event("bot", key=number)) for number in numbered} == {b"bot"}


@pytest.mark.parametrize(
    "value", [b"{", b"\xff", b"[1]", b'{"visitor": null}', b'{"visitor": 1.5}', b"{}", b"[" * 100_000]
)
def test_what_has_no_value_keeps_its_merge_key(dataset: Dataset, value: bytes) -> None:
    assert keying_of(dataset)(replace(event("bot"), value=value)) == b"view-1"


def test_without_hot_keys_the_merge_key_is_the_key(dataset: Dataset) -> None:
    key = keying_of(replace(dataset, hot_keys=None))
    assert [key(event("bot")), key(event("bot", key=None))] == [b"view-1", None]
