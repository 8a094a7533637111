"""Avro by column is Avro by fastavro, whatever schema the writer had and whatever became of the bytes."""

from __future__ import annotations

import copy
import datetime as dt
import io
import json
import math
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import fastavro
import polars as pl
import pytest

from dagster_project.contract.avro import avro_schema
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.ingest import drift
from dagster_project.ingest.avro import AvroDecoder
from dagster_project.ingest.avro_program import Unfit
from dagster_project.ingest.decode import Decoder
from dagster_project.lake.specs import ERROR, RESCUED
from tests import hostile
from tests.unit.lakes import write_project

SEED, COUNT = 20_260_101, 300
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Schema = dict[str, Any]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = write_project(tmp_path_factory.mktemp("probes"), {"probes.odcs.yaml": hostile.CONTRACT})
    return load_catalog(folder).datasets[0]


@pytest.fixture(scope="module")
def own(dataset: Dataset) -> Schema:
    return avro_schema(dataset)


def text(rng: Random) -> str:
    return rng.choice(
        ["", "a", "Łódź 😀", "a long text that is no longer kept in a view", "\x00", "日本" * rng.randrange(40)]
    )


def moment(rng: Random) -> dt.datetime:
    return dt.datetime(2, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=rng.randrange(315_000_000_000_000_000))


def amount(rng: Random, digits: int, scale: int) -> Decimal:
    return Decimal(rng.randrange(-(10**digits) + 1, 10**digits)).scaleb(-scale)


def message(rng: Random) -> dict[str, Any]:
    """One of the contract's rows, with values that every writer below has a form for."""

    def perhaps(value: Callable[[], Any]) -> Any:
        return value() if rng.random() < 0.8 else None

    return {
        "id": text(rng),
        "at": moment(rng).replace(microsecond=rng.randrange(1_000) * 1_000),
        "region": rng.choice(["eu", "us"]),
        "level": perhaps(lambda: rng.choice([0, -1, 63, 64, -65, 2**31 - 1, -(2**31)])),
        "small": perhaps(lambda: rng.randrange(-(2**31), 2**31)),
        "amount": perhaps(lambda: amount(rng, rng.choice([1, 8]), 1)),
        "ratio": perhaps(lambda: float(rng.choice([0, 1, -2.5, 1e30, 0.25]))),
        "flag": perhaps(lambda: rng.random() < 0.5),
        "day": perhaps(lambda: moment(rng).date()),
        "text": perhaps(lambda: text(rng)),
        "tags": perhaps(lambda: [text(rng) for _ in range(rng.choice([0, 1, 3, 40]))]),
        "place": perhaps(lambda: {
            "city": perhaps(lambda: text(rng)),
            "since": perhaps(lambda: moment(rng)),
            "rent": perhaps(lambda: amount(rng, rng.choice([3, 18, 38]), 10)),
            "floors": perhaps(lambda: [rng.randrange(-(2**63), 2**63) for _ in range(rng.randrange(4))]),
        }),
    }  # fmt: skip


def field(schema: Schema, name: str) -> Schema:
    return next(field for field in schema["fields"] if field["name"] == name)


def logical(kind: str, logical_type: str, /, **more: Any) -> Schema:
    return {"type": kind, "logicalType": logical_type, **more}


def as_is(_: Schema) -> None:
    pass


def backwards(schema: Schema) -> None:
    schema["fields"].reverse()


def nulls_last(schema: Schema) -> None:
    for entry in schema["fields"]:
        if isinstance(entry["type"], list):
            entry["type"].reverse()
            del entry["default"]


def other_types(schema: Schema) -> None:
    """Narrower ones, and other spellings of the same."""
    field(schema, "id")["type"] = "bytes"
    field(schema, "at")["type"] = logical("long", "timestamp-millis")
    field(schema, "level")["type"] = ["null", "int"]
    field(schema, "amount")["type"] = [logical("fixed", "decimal", name="cents", size=6, precision=14, scale=1), "null"]
    del field(schema, "amount")["default"]
    field(schema, "ratio")["type"] = ["null", "float"]


def fewer_fields(schema: Schema) -> None:
    schema["fields"] = [entry for entry in schema["fields"] if entry["name"] in ("id", "at", "region", "place")]
    place = field(schema, "place")["type"][1]
    place["fields"] = place["fields"][:2]


def unknown_fields(schema: Schema) -> None:
    """One of each kind, before, between and behind the known ones, with a type that is named and used again."""
    colour = {"type": "enum", "name": "colour", "symbols": ["RED", "BLUE"]}
    point = {
        "type": "record",
        "name": "point",
        "fields": [{"name": "x", "type": "double"}, {"name": "c", "type": colour}],
    }
    kinds: list[Any] = [
        "boolean", "int", "long", "float", "double", "bytes", "string", "null", point, "point", "colour",
        {"type": "array", "items": ["null", "point", "string", "int"]},
        {"type": "map", "values": {"type": "array", "items": "long"}},
        {"type": "fixed", "name": "hash", "size": 5},
        ["null", "string", {"type": "map", "values": "float"}],
    ]  # fmt: skip
    for number, kind in enumerate(kinds):
        schema["fields"].insert(number * 2 % len(schema["fields"]), {"name": f"unknown_{number}", "type": kind})
    # A type must be named before it is used, in whatever order the fields are now.
    known = [entry for entry in schema["fields"] if not entry["name"].startswith("unknown_")]
    unknown = [entry for entry in schema["fields"] if entry["name"].startswith("unknown_")]
    unknown.sort(key=lambda entry: int(entry["name"].partition("_")[2]))
    schema["fields"] = [entry for pair in zip(unknown, known, strict=False) for entry in pair] + unknown[len(known) :]


WRITERS = [as_is, backwards, nulls_last, other_types, fewer_fields, unknown_fields]


def fill(rng: Random, row: dict[str, Any]) -> dict[str, Any]:
    """A row with values for the unknown fields, too."""
    point = {"x": 1.5, "c": "BLUE"}
    values: list[Any] = [
        True, -5, 2**40, 1.5, 2.5, b"\xff\x00", "Łódź", None, point, point, "RED",
        [None, point, "x", 7][: rng.randrange(5)], {"a": [1, 2], "": []}, b"12345", rng.choice([None, "x", {"k": 0.5}]),
    ]  # fmt: skip
    return {**row, **{f"unknown_{number}": value for number, value in enumerate(values)}}


def written(schema: Schema, row: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    row = {**row, "id": row["id"].encode()} if field(schema, "id")["type"] == "bytes" else row
    fastavro.schemaless_writer(file, fastavro.parse_schema(copy.deepcopy(schema)), row)
    return file.getvalue()


def decoded(schema: Schema, dataset: Dataset, payloads: list[bytes]) -> list[dict[str, Any]]:
    series = pl.Series(payloads, dtype=pl.Binary)
    return AvroDecoder(json.dumps(schema), dataset.columns).decode(series).drop(RESCUED).to_dicts()


def rescued(schema: Schema, dataset: Dataset, payloads: list[bytes]) -> list[str | None]:
    found = AvroDecoder(json.dumps(schema), dataset.columns).decode(pl.Series(payloads, dtype=pl.Binary))
    return found[RESCUED].to_list()


def by_fastavro(writer: Schema, reader: Schema, payload: bytes) -> dict[str, Any]:
    """What fastavro makes of it, with its own resolution of the two schemas."""
    parsed = fastavro.parse_schema(copy.deepcopy(writer)), fastavro.parse_schema(copy.deepcopy(reader))
    return {**fastavro.schemaless_reader(io.BytesIO(payload), *parsed), ERROR: None}  # pyright: ignore[reportReturnType, reportGeneralTypeIssues, reportCallIssue]


@pytest.mark.parametrize("change", WRITERS)
def test_whatever_the_writers_schema_values_are_those_of_fastavro(
    dataset: Dataset, own: Schema, change: Callable[[Schema], None]
) -> None:
    rng, schema = Random(SEED), copy.deepcopy(own)
    change(schema)
    rows = [fill(rng, message(rng)) for _ in range(COUNT)]
    payloads = [written(schema, row) for row in rows]

    found = decoded(schema, dataset, payloads)

    resolved = own
    if change is other_types:  # fastavro takes decimals of another scale or form for raw bytes
        resolved = copy.deepcopy(own)
        field(resolved, "amount")["type"] = field(schema, "amount")["type"]
    assert found == [by_fastavro(schema, resolved, payload) for payload in payloads]
    assert [row["id"] for row in found] == [row["id"] for row in rows]


@pytest.mark.parametrize("change", [change for change in WRITERS if change is not unknown_fields])
def test_of_what_the_contract_knows_nothing_is_rescued(
    dataset: Dataset, own: Schema, change: Callable[[Schema], None]
) -> None:
    rng, schema = Random(SEED), copy.deepcopy(own)
    change(schema)

    assert set(rescued(schema, dataset, [written(schema, message(rng)) for _ in range(20)])) == {None}


def test_fields_that_the_contract_does_not_know_are_kept_in_every_row(dataset: Dataset, own: Schema) -> None:
    rng, schema = Random(SEED), copy.deepcopy(own)
    unknown_fields(schema)
    rows = [fill(rng, message(rng)) for _ in range(COUNT)]
    # Every other row has an amount that only fastavro can read.
    rows = [{**row, "amount": Decimal(10**15) if number % 2 else None} for number, row in enumerate(rows)]

    found = rescued(schema, dataset, [written(schema, row) for row in rows])

    bare = {"unknown_5": {"base64": "/wA="}, "unknown_13": "12345"}
    for row, text_ in zip(rows, found, strict=True):
        sent = {name: value for name, value in row.items() if name.startswith("unknown_") and value is not None}
        assert json.loads(text_ or "") == {**sent, **bare}
    assert {row["unknown_14"] is None for row in rows} == {True, False}
    counts = drift.unknown_fields(pl.Series(found), dataset.columns)
    assert counts["unknown_8"] == COUNT > counts["unknown_14"] > 0
    assert "unknown_7" not in counts  # of type null


@pytest.mark.parametrize(
    ("kind", "value", "spelled"),
    [
        (["null", "string"], None, None),
        (["null", "string"], "", '""'),
        ("double", math.nan, '"nan"'),
        ("double", -math.inf, '"-inf"'),
        (logical("bytes", "decimal", precision=40, scale=3), Decimal("-12345678901234567890.100"), '"-12345678901234567890.100"'),
        (logical("long", "timestamp-micros"), EPOCH + dt.timedelta(microseconds=1), '"1970-01-01T00:00:00.000001+00:00"'),
        (logical("long", "local-timestamp-millis"), dt.datetime(2026, 1, 2, 3), '"2026-01-02T03:00:00"'),  # noqa: DTZ001
        (logical("int", "date"), dt.date(2026, 1, 2), '"2026-01-02"'),
        (logical("int", "time-millis"), dt.time(3, 4, 5), '"03:04:05"'),
        (logical("string", "uuid"), uuid.UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        ("long", 2**63 - 1, "9223372036854775807"),
        ({"type": "map", "values": ["null", "int"]}, {"a": None, "é": 1}, '{"a": null, "é": 1}'),
        (["null", "double", "string", "long"], ("long", 2**63 - 1), "9223372036854775807"),
        ({"type": "array", "items": ["null", "double", "int"]}, [("int", 7), None, 7.0], "[7, null, 7.0]"),
        ({"type": "array", "items": "bytes"}, [b"ok", b"\xfe"], '["ok", {"base64": "/g=="}]'),
    ],
)  # fmt: skip
def test_unknown_values_are_spelled_as_json_without_loss(
    dataset: Dataset, own: Schema, kind: Any, value: Any, spelled: str | None
) -> None:
    schema = copy.deepcopy(own)
    schema["fields"].append({"name": "more", "type": kind})
    payload = written(schema, {**message(Random(1)), "more": value})

    assert rescued(schema, dataset, [payload]) == [None if spelled is None else f'{{"more": {spelled}}}']


def test_an_unknown_time_beyond_the_calendar_is_kept_as_its_number(dataset: Dataset, own: Schema) -> None:
    schema = copy.deepcopy(own)
    schema["fields"].append({"name": "more", "type": logical("long", "timestamp-micros")})
    payload = written(own, message(Random(1))) + b"\xfe" + b"\xff" * 8 + b"\x01"  # 2^63 - 1

    assert rescued(schema, dataset, [payload]) == [f'{{"more": {2**63 - 1}}}']


def test_of_a_known_field_with_something_unknown_in_it_all_is_kept(dataset: Dataset, own: Schema) -> None:
    schema = copy.deepcopy(own)
    place = field(schema, "place")["type"][1]
    place["fields"] += [{"name": "zip", "type": ["null", "int"]}, {"name": "hint", "type": ["null", "string"]}]
    where = {"city": "Łódź", "since": EPOCH, "rent": Decimal("1.5"), "floors": [1]}
    places = [None, {**where, "zip": None, "hint": None}, {**where, "zip": 7, "hint": None}]

    found = rescued(schema, dataset, [written(schema, {**message(Random(1)), "place": place}) for place in places])

    assert found[:2] == [None, None]
    assert json.loads(found[2] or "") == {
        "place": {**where, "since": "1970-01-01T00:00:00+00:00", "rent": "1.5000000000", "zip": 7}
    }
    assert drift.unknown_fields(pl.Series(found[2:]), dataset.columns) == {"place.zip": 1}


def test_what_was_rescued_is_read_as_the_message_itself_once_the_contract_knows_it(
    dataset: Dataset, own: Schema
) -> None:
    rng = Random(SEED)
    rows = [message(rng) for _ in range(COUNT)]
    payloads = pl.Series([written(own, row) for row in rows], dtype=pl.Binary)
    few = tuple(column for column in dataset.columns if column.name == "id")
    known = AvroDecoder(json.dumps(own), few).decode(payloads)

    later = Decoder(dataset.columns).decode(known[RESCUED].cast(pl.Binary))

    direct = AvroDecoder(json.dumps(own), dataset.columns).decode(payloads)
    assert later.drop("id").equals(direct.drop("id"))
    assert known["id"].to_list() == [row["id"] for row in rows]


def test_poison_has_nothing_to_rescue(dataset: Dataset, own: Schema) -> None:
    schema = copy.deepcopy(own)
    schema["fields"].append({"name": "more", "type": "string"})
    whole = written(schema, {**message(Random(1)), "more": "x"})
    infinite = written(schema, {**message(Random(1)), "ratio": math.inf, "more": "x"})

    assert rescued(schema, dataset, [whole[:-1], infinite, whole]) == [None, None, '{"more": "x"}']


def test_a_hundred_thousand_elements_and_blocks_of_any_size_are_read(dataset: Dataset, own: Schema) -> None:
    row = {**message(Random(1)), "tags": [str(number) for number in range(100_000)]}
    schema = copy.deepcopy(own)
    schema["fields"] = [entry for entry in schema["fields"] if entry["name"] in ("id", "at", "region", "tags")]
    # id, at, region, and tags in three blocks: two, then one with its size in bytes before it, then the end.
    blocks = b"\x02x" + b"\x00" + b"\x04eu" + b"\x02" + b"\x04\x02a\x02b" + b"\x01\x04\x02c" + b"\x00"

    found = decoded(own, dataset, [written(own, row)])[0], decoded(schema, dataset, [blocks])[0]

    assert found[0]["tags"] == row["tags"]
    assert (found[1][ERROR], found[1]["tags"], found[1]["at"]) == (None, ["a", "b", "c"], EPOCH)


def test_broken_messages_are_poison_and_their_neighbours_are_not(dataset: Dataset, own: Schema) -> None:
    rng, schema = Random(SEED), copy.deepcopy(own)
    unknown_fields(schema)
    good = fill(rng, {**message(rng), "place": {"city": "x", "since": EPOCH, "rent": Decimal("1.5"), "floors": [1]}})
    whole = written(schema, good)
    expected = by_fastavro(schema, own, whole)
    cut = [whole[:end] for end in range(len(whole))] + [whole + b"\x00"]
    flipped: list[bytes] = []
    for _ in range(2_000):
        changed = bytearray(whole)
        for _ in range(rng.choice([1, 1, 1, 4])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        flipped.append(bytes(changed))
    payloads = [part for payload in (*cut, *flipped) for part in (payload, whole)]

    found = decoded(schema, dataset, payloads)

    assert found[1::2] == [expected] * (len(payloads) // 2)
    assert {row[ERROR] for row in found[: 2 * len(cut) : 2]} == {"payload.avro: not what its schema says"}
    nothing = dict.fromkeys(column.name for column in dataset.columns)
    reasons: set[str] = set()
    for payload, row in zip(payloads[2 * len(cut) :: 2], found[2 * len(cut) :: 2], strict=True):
        if row[ERROR] is None:
            assert row == by_fastavro(schema, own, payload)
        else:
            assert row == {**nothing, ERROR: row[ERROR]}
            reasons.add(row[ERROR].partition(":")[0])
    assert {"payload.avro", "payload.utf8"} <= reasons


@pytest.mark.parametrize(
    ("name", "kind", "value", "expected"),
    [
        ("amount", logical("bytes", "decimal", precision=40, scale=4), Decimal("1.2500"), Decimal("1.25")),
        ("amount", logical("bytes", "decimal", precision=40, scale=4), Decimal("1.2501"), "amount.scale"),
        ("amount", logical("bytes", "decimal", precision=40, scale=2), Decimal(10) ** 16 - Decimal("0.01"), Decimal(10) ** 16 - Decimal("0.01")),
        ("amount", logical("bytes", "decimal", precision=40, scale=2), Decimal(10) ** 16, "amount.range"),
        ("amount", logical("bytes", "decimal", precision=400, scale=0), Decimal(10) ** 399, "amount.range"),
        ("ratio", "double", math.nan, "ratio.range"),
        ("ratio", "double", math.inf, "ratio.range"),
        ("ratio", "double", -0.0, -0.0),
        ("ratio", "double", 5e-324, 5e-324),
        ("ratio", "float", -math.inf, "ratio.range"),
        ("ratio", "long", 2**63 - 1, float(2**63 - 1)),
        ("level", "long", -(2**63), -(2**63)),
        ("day", logical("int", "date"), dt.date.max, dt.date.max),
        ("day", "int", 2**31 - 1, "day.range"),
        ("day", "int", -(2**31), "day.range"),
        ("at", logical("long", "timestamp-micros"), dt.datetime.max.replace(tzinfo=dt.UTC), dt.datetime.max.replace(tzinfo=dt.UTC)),
        ("at", logical("long", "timestamp-micros"), dt.datetime.min.replace(tzinfo=dt.UTC), dt.datetime.min.replace(tzinfo=dt.UTC)),
        ("at", "long", 2**63 - 1, "at.range"),
        ("at", "long", -(2**63), "at.range"),
        ("text", "bytes", b"\xff", "payload.utf8"),
        ("text", "bytes", "Łódź".encode(), "Łódź"),
    ],
)  # fmt: skip
def test_at_the_bounds_of_a_column_a_value_fits_or_is_named(
    dataset: Dataset, own: Schema, name: str, kind: Any, value: Any, expected: Any
) -> None:
    schema = copy.deepcopy(own)
    field(schema, name)["type"] = kind
    field(schema, name).pop("default", None)
    payload = written(schema, {**message(Random(1)), name: value})
    claimed = copy.deepcopy(schema)
    if name in ("day", "at") and isinstance(
        kind, str
    ):  # written as a bare number, which the logical type has no form for
        field(claimed, name)["type"] = logical(kind, "date" if name == "day" else "timestamp-micros")

    (row,) = decoded(claimed, dataset, [payload])

    if isinstance(expected, str) and row[ERROR] is not None:
        assert row[ERROR].partition(":")[0] == expected
        assert row[name] is None
    else:
        assert (row[ERROR], row[name]) == (None, expected)
        assert str(row[name]) == str(expected)  # negative zero, too


def test_text_that_is_no_utf8_is_named_where_the_contract_does_not_know_it_too(dataset: Dataset, own: Schema) -> None:
    schema = copy.deepcopy(own)
    schema["fields"].append({"name": "unknown", "type": "string"})

    payload = written(own, message(Random(1))) + b"\x02\xff"
    (row,) = decoded(schema, dataset, [payload])

    assert row[ERROR].startswith("payload.utf8")


def twofold(levels: int) -> Schema:
    """A schema of some hundred words whose messages hold 2^levels values."""
    kind: Any = {"type": "record", "name": "r0", "fields": [{"name": "x", "type": "int"}]}
    for level in range(1, levels):
        fields = [{"name": "a", "type": kind}, {"name": "b", "type": f"r{level - 1}"}]
        kind = {"type": "record", "name": f"r{level}", "fields": fields}
    return kind


def test_elements_may_be_null(dataset: Dataset, own: Schema) -> None:
    schema = copy.deepcopy(own)
    field(schema, "tags")["type"] = {"type": "array", "items": ["null", "string"]}
    row = {**message(Random(1)), "tags": [None, "a", None]}
    del field(schema, "tags")["default"]

    assert decoded(schema, dataset, [written(schema, row)])[0]["tags"] == [None, "a", None]


def test_the_domain_of_a_contract_becomes_a_name_in_avro(dataset: Dataset) -> None:
    for domain in ("3d-printing", "é", "a.b", "retail"):
        assert fastavro.parse_schema(avro_schema(replace(dataset, domain=domain)))


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("level", "string", "level: found string, expected bigint"),
        ("small", "long", "small: found long, expected int"),
        ("amount", "bytes", "amount: found bytes, expected decimal(18, 2)"),
        ("at", "long", "at: found long, expected timestamp"),
        ("day", logical("long", "timestamp-millis"), "day: found long (timestamp-millis), expected date"),
        ("text", ["null", "string", "int"], "text: found a union of null, string, int, expected string"),
        ("tags", {"type": "array", "items": "int"}, "tags[]: found int, expected string"),
        ("tags", {"type": "map", "values": "string"}, "tags: found map, expected list<string>"),
        ("place", {"type": "record", "name": "p", "fields": [{"name": "city", "type": "int"}]}, "place.city: found int, expected string"),
        ("place", "null", "place: found null"),
        ("unknown", {"type": "array", "items": "null"}, "unknown: a list of what takes no bytes"),
        ("unknown", {"type": "record", "name": "loop", "fields": [{"name": "next", "type": ["null", "loop"]}]}, "nested too deeply"),
        ("unknown", twofold(40), "nested too deeply, or without end"),
        ("id", None, "id: not in it, and required"),
    ],
)  # fmt: skip
def test_a_schema_that_does_not_go_with_the_contract_is_refused_with_the_place(
    dataset: Dataset, own: Schema, name: str, kind: Any, reason: str
) -> None:
    schema = copy.deepcopy(own)
    schema["fields"] = [entry for entry in schema["fields"] if entry["name"] != name]
    if kind is not None:
        schema["fields"].append({"name": name, "type": kind})

    with pytest.raises(Unfit) as refused:
        AvroDecoder(json.dumps(schema), dataset.columns)

    assert reason in str(refused.value)


def test_no_message_is_no_row(dataset: Dataset, own: Schema) -> None:
    assert decoded(own, dataset, []) == []


def test_the_schema_of_a_contract_is_avro_with_nulls_for_what_is_optional(own: Schema) -> None:
    assert fastavro.parse_schema(copy.deepcopy(own))
    assert (own["type"], own["name"]) == ("record", "probes")
    assert field(own, "id") == {"name": "id", "type": "string"}
    assert field(own, "at")["type"] == logical("long", "timestamp-micros")
    assert field(own, "level") == {"name": "level", "type": ["null", "long"], "default": None}
    assert field(own, "small")["type"] == ["null", "int"]
    assert field(own, "amount")["type"][1] == logical("bytes", "decimal", precision=18, scale=2)
    assert field(own, "day")["type"][1] == logical("int", "date")
    assert field(own, "tags")["type"][1] == {"type": "array", "items": "string"}
    place = field(own, "place")["type"][1]
    assert (place["type"], place["name"], len(place["fields"])) == ("record", "place", 4)


def test_where_it_is_no_path_is_left_out(dataset: Dataset) -> None:
    with pytest.raises(Unfit, match="payload: found string"):
        AvroDecoder('"string"', dataset.columns)


@pytest.mark.parametrize(
    ("kind", "tail"),
    [
        ({"type": "enum", "name": "colour", "symbols": ["RED", "BLUE"]}, b"\x04"),
        ({"type": "enum", "name": "colour", "symbols": ["RED", "BLUE"]}, b"\x01"),
        (["null", "string"], b"\x04"),
        (["null", {"type": "record", "name": "nothing", "fields": []}], b"\x01"),
        ("boolean", b"\x02"),
        ("int", b"\x80\x80\x80\x80\x10"),  # one more than 32 bits
        ("long", b"\xff" * 9 + b"\x02"),  # one more than 64
        ("long", b"\x80" * 11 + b"\x00"),
        ("string", b"\x01"),
        ("bytes", b"\xff" * 9 + b"\x01"),
        ({"type": "array", "items": "int"}, b"\xff" * 9 + b"\x01\x00"),
        ({"type": "map", "values": "int"}, b"\x02\x02a"),
    ],
)
def test_what_the_encoding_does_not_allow_is_broken_where_nobody_needs_it_too(
    dataset: Dataset, own: Schema, kind: Any, tail: bytes
) -> None:
    schema = copy.deepcopy(own)
    schema["fields"].append({"name": "unknown", "type": kind})
    payload = written(own, message(Random(1))) + tail

    assert [row[ERROR] for row in decoded(schema, dataset, [payload])] == ["payload.avro: not what its schema says"]


def test_warming_up_compiles_what_decoding_uses() -> None:
    program = """
        from dagster_project.ingest import avro_scanner, warm
        before = len(avro_scanner.scan.signatures)
        import polars as pl
        from dagster_project.contract.model import Column, DataType
        from dagster_project.ingest.avro import AvroDecoder
        schema = '{"type": "record", "name": "r", "fields": [{"name": "a", "type": "string"}]}'
        row = AvroDecoder(schema, (Column(name="a", type=DataType(kind="string")),)).decode(pl.Series([b"\\x02b"]))
        print(row["a"][0], before == 1 == len(avro_scanner.scan.signatures))
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )
    assert answer.stdout == "b True\n"
