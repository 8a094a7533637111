"""Which schema a message names, and whether it goes with the contract."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import jsonschema_rs
import polars as pl
import pytest

from dagster_project.contract.diff import compare
from dagster_project.contract.json_schema import json_schema, mismatches
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset, Format
from dagster_project.errors import ContractError, RegistryError
from dagster_project.ingest.decode import Decoder
from dagster_project.ingest.wire import WireDecoder
from dagster_project.lake.specs import ERROR
from dagster_project.registry.schemas import WriterSchema
from dagster_project.settings import REPOSITORY
from dagster_project.sources.orders import Orders
from tests import hostile
from tests.unit.lakes import write_project

ORDERS = (REPOSITORY / "contracts" / "orders.odcs.yaml").read_text()


@dataclass
class Shelf:
    """Schemas by id, and which ids were asked for."""

    schemas: dict[int, WriterSchema]
    asked: list[int] = field(default_factory=list)
    open: bool = True

    def schema(self, schema_id: int) -> WriterSchema | None:
        if not self.open:
            raise RegistryError("closed")
        self.asked.append(schema_id)
        return self.schemas.get(schema_id)


@pytest.fixture(scope="module")
def orders() -> Dataset:
    return load_catalog(REPOSITORY / "contracts").dataset("orders")


def wired(dataset: Dataset, written: Format = "json") -> Dataset:
    return replace(dataset, topic=replace(dataset.topic, format=written, wire_format="confluent"))


def own_schema(dataset: Dataset) -> WriterSchema:
    return WriterSchema(kind="JSON", text=json.dumps(json_schema(dataset)))


def events(dataset: Dataset) -> list[bytes]:
    return [event.value for event in Orders(dataset=dataset, events=300, seed=3, poison=0.3)]


def test_behind_the_header_everything_is_as_without_it(orders: Dataset) -> None:
    shelf = Shelf({7: own_schema(orders), 300: own_schema(orders)})
    payloads = events(orders)
    wrapped = [b"\x00" + (7 if n % 3 else 300).to_bytes(4, "big") + payload for n, payload in enumerate(payloads)]

    found = WireDecoder(wired(orders), shelf).decode(pl.Series(wrapped, dtype=pl.Binary))

    assert found.equals(Decoder(orders.columns).decode(pl.Series(payloads, dtype=pl.Binary)))
    assert found[ERROR].null_count() < len(found)


def test_a_schema_is_asked_for_once_and_an_unknown_one_again_after_a_while(orders: Dataset) -> None:
    shelf, now = Shelf({7: own_schema(orders)}), [100.0]
    decoder = WireDecoder(wired(orders), shelf, clock=lambda: now[0])
    batch = pl.Series(
        [b"\x00\x00\x00\x00\x07{}", b"\x00\x00\x00\x00\x08{}", b"{}", b"\x00\x00\x00\x00\x08[]"], dtype=pl.Binary
    )

    reasons = [decoder.decode(batch)[ERROR].to_list() for _ in range(2)]

    assert reasons == [[None, "schema.unknown: id 8 is not in the registry",
                        "payload.wire: no zero byte and schema id before the value", "schema.unknown: id 8 is not in the registry"]] * 2  # fmt: skip
    assert sorted(shelf.asked) == [7, 8]
    shelf.schemas[8] = own_schema(orders)
    now[0] += 9
    assert decoder.decode(batch)[ERROR].to_list() == reasons[0]
    now[0] += 1
    assert decoder.decode(batch)[ERROR].to_list()[1::2] == [None, "payload.object: found array"]
    assert sorted(shelf.asked) == [7, 8, 8]


def test_made_up_ids_by_the_thousand_are_few_requests_and_delay_nobody(orders: Dataset) -> None:
    """What is known, and what many messages name, is decoded; the rest waits in the dead-letter queue."""
    shelf, now = Shelf({number: own_schema(orders) for number in (7, 8, 9)}), [100.0]
    decoder = WireDecoder(wired(orders), shelf, clock=lambda: now[0])
    value = events(orders)[0]

    def reasons(ids: range, *more: bytes) -> list[str | None]:
        made_up = [b"\x00" + number.to_bytes(4, "big") + value for number in ids]
        found = decoder.decode(pl.Series([*made_up, *more], dtype=pl.Binary))[ERROR].to_list()
        return [None if reason is None else reason.split(":")[0] for reason in found]

    known, new, other = (b"\x00\x00\x00\x00" + bytes([number]) + value for number in (7, 8, 9))
    assert reasons(range(0), known) == [None]

    found = reasons(range(1_000, 51_000), known, new, new, b"{}")

    assert found[-4:] == [None, None, None, "payload.wire"]
    assert Counter(found[:-4]) == {"schema.unknown": 99, "schema.flood": 49_901}
    assert len(shelf.asked) == 101

    # As long as it has not known so many, there are few requests for others; the most frequent is among them.
    found = reasons(range(60_000, 61_000), other, other)
    assert found[-2:] == [None, None]
    assert Counter(found[:-2]) == {"schema.unknown": 9, "schema.flood": 991}
    now[0] += 10
    assert Counter(reasons(range(70_000, 71_000))) == {"schema.unknown": 100, "schema.flood": 900}
    assert len(shelf.asked) == 211


def test_ids_beyond_what_a_registry_has_are_not_asked_for(orders: Dataset) -> None:
    shelf = Shelf({})
    ids = range((1 << 31) - 1, (1 << 31) + 200)
    payloads = [b"\x00" + number.to_bytes(4, "big") for number in ids]
    found = WireDecoder(wired(orders), shelf).decode(pl.Series(payloads, dtype=pl.Binary))
    assert found[ERROR].null_count() == 0
    assert shelf.asked == [(1 << 31) - 1]


def test_where_nobody_says_what_a_schema_is_nothing_is_poison(orders: Dataset) -> None:
    with pytest.raises(RegistryError):
        WireDecoder(wired(orders), Shelf({}, open=False)).decode(
            pl.Series([b"\x00\x00\x00\x00\x07{}"], dtype=pl.Binary)
        )


def test_no_message_is_no_row_and_nothing_to_ask(orders: Dataset) -> None:
    found = WireDecoder(wired(orders), Shelf({}, open=False)).decode(pl.Series([], dtype=pl.Binary))

    assert found.equals(Decoder(orders.columns).decode(pl.Series([], dtype=pl.Binary)))


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("PROTOBUF", 'syntax = "proto3";', "found PROTOBUF, expected AVRO"),
        ("JSON", "{}", "found JSON, expected AVRO"),
        ("AVRO with references", '"string"', "found AVRO with references, expected AVRO"),
        ("AVRO", '"string"', "payload: found string"),
        ("AVRO", '{"type": "record", "name": "x", "fields": [{"name": "y", "type": "no such"}]}', "no schema of Avro"),
        ("AVRO", "no json", "no schema of Avro"),
    ],
)
def test_what_is_no_schema_for_the_contract_is_refused(orders: Dataset, kind: str, text: str, reason: str) -> None:
    shelf = Shelf({9: WriterSchema(kind=kind, text=text)})

    found = WireDecoder(wired(orders, "avro"), shelf).decode(
        pl.Series([b"\x00\x00\x00\x00\x09ab"] * 2, dtype=pl.Binary)
    )

    assert found[ERROR].str.starts_with("schema.incompatible: id 9: ").all()
    assert reason in found[ERROR][0]
    assert found["order_id"].to_list() == [None, None]


def test_a_contracts_json_schema_takes_its_events_and_not_those_of_other_types(orders: Dataset) -> None:
    schema = json_schema(orders)
    validator = jsonschema_rs.validator_for(schema)
    good = [json.loads(event.value) for event in Orders(dataset=orders, events=200, seed=3) if event.kind == "valid"]

    assert all(validator.is_valid(value) for value in good)
    assert validator.is_valid({**good[0], "note": None, "unknown": 1})
    for name, value in {"order_id": 5, "amount": [], "items": [{"sku": 1}], "ordered_at": None}.items():
        assert not validator.is_valid({**good[0], name: value})
    assert not list(mismatches(schema, orders.columns))


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, []),
        ({"type": "object"}, []),
        ({"type": "array"}, ["payload: found array, expected object"]),
        ({"type": "object", "additionalProperties": False, "properties": {"id": {}, "at": {}}}, ["region: not in it, and required"]),
        ({"properties": {"id": {"type": ["string", "null"]}}}, []),
        ({"properties": {"id": {"type": "integer"}}}, ["id: found integer, expected string"]),
        ({"properties": {"amount": {"type": "string"}, "tags": {"items": {"type": "number"}}}}, ["tags[]: found number, expected string"]),
        ({"properties": {"place": {"properties": {"city": {"type": "boolean"}}}}}, ["place.city: found boolean, expected string"]),
    ],
)  # fmt: skip
def test_a_json_schema_by_which_no_message_has_the_columns_is_named(
    tmp_path: Path, schema: object, expected: list[str]
) -> None:
    (dataset,) = load_catalog(write_project(tmp_path, {"probes.odcs.yaml": hostile.CONTRACT})).datasets

    assert list(mismatches(schema, dataset.columns)) == expected


@pytest.mark.parametrize(
    ("text", "written", "wire"),
    [
        ("format: json\n    customProperties:", "json", "plain"),
        ("format: avro\n    customProperties:", "avro", "confluent"),
        ("format: json\n    customProperties:\n      - {property: wireFormat, value: confluent}", "json", "confluent"),
    ],
)
def test_the_contract_chooses_the_format(tmp_path: Path, text: str, written: str, wire: str) -> None:
    changed = ORDERS.replace("format: json\n    customProperties:", text)

    topic = load_catalog(write_project(tmp_path, {"orders.odcs.yaml": changed})).datasets[0].topic

    assert (topic.format, topic.wire_format, topic.subject) == (written, wire, "commerce.orders.v1-value")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("format: protobuf\n    customProperties:", "json or avro"),
        ("format: json\n    customProperties:\n      - {property: wireFormat, value: glue}", "plain or confluent"),
        ("format: avro\n    customProperties:\n      - {property: wireFormat, value: plain}", "only its schema tells"),
    ],
)
def test_a_format_that_there_is_not_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    changed = ORDERS.replace("format: json\n    customProperties:", text)

    with pytest.raises(ContractError) as refused:
        load_catalog(write_project(tmp_path, {"orders.odcs.yaml": changed}))

    assert problem in refused.value.found


def test_another_format_is_a_breaking_change(orders: Dataset) -> None:
    changes = compare(orders, wired(orders, "avro"))

    assert [(change.path, change.verdict) for change in changes] == [
        ("format", "breaking"),
        ("wire format", "breaking"),
    ]
