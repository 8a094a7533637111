"""What a contract does not know is kept as it was sent, and told by name."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.ingest import exact
from dagster_project.ingest.bronze import place
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.drift import unknown_fields
from dagster_project.lake import specs
from tests import hostile
from tests.hostile import Record
from tests.unit.ingest.test_fuzz import fetched
from tests.unit.lakes import write_project


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return load_catalog(
        write_project(tmp_path_factory.mktemp("probes"), {"probes.odcs.yaml": hostile.CONTRACT})
    ).datasets[0]


def both(dataset: Dataset, payload: bytes) -> str | None:
    """What is rescued of a payload, by column and one by one."""
    (row,) = Decoder(dataset.columns).decode(pl.Series([payload], dtype=pl.Binary)).to_dicts()
    assert row[specs.ERROR] is None
    assert exact.decode(payload, dataset.columns)[specs.RESCUED] == row[specs.RESCUED]
    return row[specs.RESCUED]


@pytest.mark.parametrize(
    ("payload", "rescued", "fields"),
    [
        (b'{"id": "a"}', None, {}),
        (b"{ }", None, {}),
        (b'{"id": "a", "coupon":  "X1"}', '{"coupon":  "X1"}', {"coupon": 1}),
        (b'{"coupon":null , "id": "a","n" : 1.50 }', '{"coupon":null,"n" : 1.50}', {"coupon": 1, "n": 1}),
        (b'{"x": {"id": [1, {"id": "]}"}]}, "id": "a"}', '{"x": {"id": [1, {"id": "]}"}]}}', {"x": 1}),
        (b'{"place": {"city": "a", "zip": 7}, "id": "a"}', '{"place": {"city": "a", "zip": 7}}', {"place.zip": 1}),
        (
            b'{"place": {"floors": [1], "zip": {"a": 1}}}',
            '{"place": {"floors": [1], "zip": {"a": 1}}}',
            {"place.zip": 1},
        ),
        (b'{"place": {"city": "a"}, "more": []}', '{"more": []}', {"more": 1}),
        (b'{"x": 1, "x": 2}', '{"x": 1,"x": 2}', {"x": 1}),
        ('{"Łódź": "é😀"}'.encode(), '{"Łódź": "é😀"}', {"Łódź": 1}),
        (b'{"a\\u0062": "\\u0041"}', '{"a\\u0062": "\\u0041"}', {"ab": 1}),
        (b'{"": {}}', '{"": {}}', {"": 1}),
        (b'{"n": ' + b"1" * 300 + b"}", '{"n": ' + "1" * 300 + "}", {"n": 1}),
        # A value that is known may be longer than one of which nothing is.
        (b'{"x": 1, "amount": 1.' + b"0" * 30 + b"}", '{"x": 1}', {"x": 1}),
        (b'{"tags": ["a"], "Tags": 1}', '{"Tags": 1}', {"Tags": 1}),
    ],
)
def test_unknown_fields_are_kept_as_they_were_sent(
    dataset: Dataset, payload: bytes, rescued: str | None, fields: dict[str, int]
) -> None:
    found = both(dataset, payload)
    assert found == rescued
    assert unknown_fields(pl.Series([found] if found else [], dtype=pl.String), dataset.columns) == fields


_NAMES = st.sampled_from(["a", "coupon", "Łódź", "x y", "ID"])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=6,
)


@given(
    st.lists(
        st.tuples(st.dictionaries(_NAMES, _VALUES, max_size=3), st.dictionaries(_NAMES, _VALUES, max_size=2)),
        max_size=8,
    )
)
def test_by_column_and_beside_others(dataset: Dataset, drawn: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    payloads, expected = list[bytes](), list[dict[str, Any] | None]()
    for number, (outside, inside) in enumerate(drawn):
        place_ = {"city": "Gdańsk", **inside}
        # JSON escapes what is not ASCII in one half of them, which is the other way through the decoder.
        document = {"id": f"{number}", **outside, "place": place_, "level": 1}
        payloads.append(json.dumps(document, ensure_ascii=number % 2 == 0).encode())
        expected.append({**outside, **({"place": place_} if inside else {})} or None)
    frame = Decoder(dataset.columns).decode(pl.Series(payloads, dtype=pl.Binary))
    assert [None if text is None else json.loads(text) for text in frame[specs.RESCUED]] == expected
    assert [exact.decode(payload, dataset.columns)[specs.RESCUED] for payload in payloads] == frame[
        specs.RESCUED
    ].to_list()
    assert frame["level"].to_list() == [1] * len(drawn)


def test_poison_has_nothing_to_rescue(dataset: Dataset) -> None:
    text = b'{"id": "a", "at": "2026-01-20T00:00:00Z", "region": "eu"}'
    messages = [
        text[:-1] + b', "coupon": 1}',
        b'{"coupon": 1, "id": 5}',
        b'{"coupon": 1}',
        text[:-1] + b', "coupon": 2',
    ]
    rows = place(
        dataset,
        fetched([Record(place=at, content=content) for at, content in enumerate(messages)]),
        Decoder(dataset.columns),
    )
    assert rows["_kind"].to_list() == [specs.EVENT, specs.POISON, specs.POISON, specs.POISON]
    assert rows[specs.RESCUED].to_list() == ['{"coupon": 1}', None, None, None]


def test_more_unknown_fields_than_there_is_room_for(dataset: Dataset) -> None:
    names = [f"f{number}" for number in range(5_000)]
    payload = json.dumps(dict.fromkeys(names, 1)).encode()
    rescued = both(dataset, payload)
    assert rescued is not None
    assert list(json.loads(rescued)) == names


def test_fields_are_counted_by_row(dataset: Dataset) -> None:
    rescued = [
        '{"a": 1, "b": 2}',
        '{"a": 1, "b": 2}',
        '{"a": {"b": 1}, "place": {"zip": 1, "city": ""}}',
        '{"a": 1,"a": 2}',
    ]
    found = unknown_fields(pl.Series(rescued), dataset.columns)
    assert found == {"a": 4, "b": 2, "place.zip": 1}
    assert next(iter(found)) == "a"
