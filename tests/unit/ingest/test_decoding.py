"""Decoding by column means the same as decoding one by one, whatever arrives."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
from decimal import Decimal
from importlib.util import find_spec, module_from_spec
from itertools import product
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.contract.dtypes import polars_schema
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Column, DataType
from dagster_project.ingest import exact, scanner
from dagster_project.ingest.decode import ERROR, RESCUED, Decoder
from dagster_project.settings import REPOSITORY

# No other contract has a kind of column that these lack.
CONTRACTS = {name: load_catalog(REPOSITORY / "contracts").dataset(name).columns for name in ("flights", "orders")}
# Every kind, and nesting that the project's own contracts do not have.
CONTRACTS["kinds"] = (
    Column(name="text", type=DataType(kind="string")),
    Column(name="ratio", type=DataType(kind="number")),
    Column(name="flag", type=DataType(kind="boolean")),
    Column(name="day", type=DataType(kind="date")),
    Column(name="moment", type=DataType(kind="timestamp")),
    Column(name="count", type=DataType(kind="integer")),
    Column(name="tags", type=DataType(kind="list", element=DataType(kind="string"))),
    Column(
        name="grid",
        type=DataType(kind="list", element=DataType(kind="list", element=DataType(kind="integer", bits=32))),
    ),
    Column(
        name="place",
        type=DataType(
            kind="struct",
            fields=(
                Column(name="city", type=DataType(kind="string")),
                Column(name="since", type=DataType(kind="timestamp")),
                Column(name="opened", type=DataType(kind="date")),
                Column(name="open", type=DataType(kind="boolean")),
                Column(name="rent", type=DataType(kind="decimal", precision=38, scale=10)),
                Column(name="size", type=DataType(kind="number")),
            ),
        ),
    ),
)
DECODERS = {name: Decoder(columns) for name, columns in CONTRACTS.items()}
GOOD: dict[str, dict[str, Any]] = {
    "orders": {
        "order_id": "0b0e9b1c-93a5-4b2f-9c60-2ad1c2d3e4f5",
        "ordered_at": "2026-02-03T04:05:06.789Z",
        "event_time": "2026-02-03T05:00:00+01:00",
        "region": "eu",
        "status": "paid",
        "customer_id": "c-1",
        "currency": "EUR",
        "amount": 12.5,
        "items": [{"sku": "AB-1", "quantity": 2, "unit_price": 6.25}],
        "note": None,
    },
    "flights": {
        "carrier": "UA",
        "flight": 1545,
        "origin": "EWR",
        "scheduled_departure": "2013-01-01T10:15:00Z",
        "dest": "IAH",
        "tailnum": "N14228",
        "sched_dep_time": 515,
        "dep_time": 517,
        "dep_delay": 2,
        "sched_arr_time": 819,
        "arr_time": 830,
        "arr_delay": 11,
        "air_time": 227,
        "distance": 1400,
    },
    "kinds": {
        "text": "héllo",
        "ratio": 0.1,
        "flag": True,
        "day": "2026-02-28",
        "moment": "2026-02-28",
        "count": 9007199254740993,
        "tags": ["a", "b"],
        "grid": [[1], [], [2, 3]],
        "place": {
            "city": "Łódź",
            "since": "2026-01-01 00:00",
            "opened": "2020-02-29",
            "open": False,
            "rent": 1.5,
            "size": 3,
        },
    },
}
# Written as they stand, for what a JSON library would never write.
LITERALS = [
    "NaN", "-Infinity", "nan", "inf", "null", "true", "false", "[]", "{}", "0", "-0", "-0.0", "1e2", "1.0", "1.50", "1E-2",
    "1e400", "-1e400", "1e-400", "0.1", "0.10000000000000000001", "1234567890123456.78", "123456789012345.68", "9007199254740993",
    "999999999999999999", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "2147483647", "2147483648", "-2147483649", "1" + "0" * 40, "1" * 401,
    "1" + "0" * 5000, "0.005", "1.005", "1e15", "1e17", "9999999999999999.99", "99999999999999999.99", "1.7976931348623157e308",
    "1.7976931348623159e308", "5e-324", "2e-324", "01", "+1", ".5", "1.", "0x10", "'a'", '"1"', '"1.5"', '"12.50"', '"1e3"',
    '" 1"', '"NaN"', '"Infinity"', '"1_0"', '"true"', '"2026-01-01"', '"2026-01-01T00:00:00"', '"2026-01-01T00:00:00Z"',
    '"2026-01-01T00:00:00z"', '"2026-01-01 00:00:00.123456+14:00"', '"2026-01-01T00:00:00.1234567Z"', '"2026-01-01T00:00:00.1Z"',
    '"2026-01-01T24:00:00Z"', '"2026-01-01T23:59:60Z"', '"2026-02-30T00:00:00Z"', '"2026-02-29"', '"0001-01-01T00:00:00+14:00"',
    '"0000-01-01"', '"0001-01-01"', '"9999-12-31"', '"9999-12-31T23:59:59.999999-12:00"', '"2026-01-01T00:00:00+24:00"',
    '"2026-01-01T00:00+05:30"', '"2026-01-01T00:00:00+05"', '"2026-01-01T00:00:00-00:00"', '"2026-01-01T00:00:00+00:60"', '"epoch"',
    '"infinity"', '"-infinity"', '"2026-1-1"', '" 2026-01-01"', '"2026-01-01\\n"', '"٢٠٢٦-٠١-٠١"', '"2026-01-01T00:00:00 Z"',
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\ud83d\\ude00"', '"\\u00e9"', '"a\nb"', '"a\tb"', '"\x00"', '"\\x"', '"\\/"', '"😀"',
    '["a", null]', "[null]", '[1, "2"]', "[[1, 2.0]]", "[[1, 2.5]]", "[[2147483648]]", "[[true]]", '[{"sku": 1}]', "[{}]", "[[]]",
    '[{"sku": "A", "quantity": 1.0, "unit_price": "1.10"}]', '[{"sku": "A", "quantity": 1.5}]', '[{"sku": "A", "quantity": true}]',
    '[{"sku": "A", "quantity": 2147483648}]', '[{"sku": "A", "unit_price": 1234567890123456.78}]', '[{"sku": "A", "unit_price": 1.001}]',
    '[{"sku": "A", "unit_price": 0.10000000000000000001}]', '[{"sku": "A", "unit_price": 123456789012345.68}]',
    '[{"sku": "A", "unit_price": 1e-400}]', '[{"sku": "A", "sku": "B"}]', '[{"SKU": "A"}]', '[{"sku": ["A"]}]', "[1,]", '{"a": 1,}',
    '{"city": "a", "city": 5}', '{"city": 5, "city": "a"}', '{"since": "2026-01-01T00:00:00.1234567Z"}', '{"since": "2026-01-01T00:00:00"}',
    '{"since": "2026-01-01T00:00:00+02:00"}', '{"since": "epoch"}', '{"opened": "2026-01-01T10:00:00"}', '{"opened": " 2026-01-01 "}',
    '{"opened": "20260101"}', '{"open": "true"}', '{"open": 1}', '{"rent": 12345678901234567890.1234567891}', '{"rent": "0.1"}',
    '{"rent": 1e27}', '{"rent": 1e28}', '{"size": 1e400}', '{"size": "1"}', '{"size": 18446744073709551616}', '{"City": "a"}', '{"rent": -0.0}',
    "[" * 1200 + "]" * 1200, '{"a":' * 1200 + "1" + "}" * 1200,
]  # fmt: skip
WHOLE = [
    b"", b" ", b"\xef\xbb\xbf{}", b"{}", b"null", b"1", b'"a"', b"[]", b"[{}]", b"{", b"}", b"{}{}", b"{} ", b"\n{}\n", b"{}x", b"\x00{}", b"{}\x00",
    b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}', b'{"a": "\xed\xa0\x80"}', b"{,}", b'{"a":1,}', b"// c\n{}", b"{/*c*/}", b"{'a': 1}", b"{a: 1}",
    b'{"":1}', b"\x0b{}", b"\xc2\xa0{}", b"{}\xe2\x80\xa8", b"\r\n\t {}", b'{"region": "eu"', b'{"\\u0072egion": "eu"}',
    b"[" * 20_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 20_000,
]  # fmt: skip


def render(fields: list[tuple[str, str]], *, compact: bool = False, end: str = "}") -> bytes:
    """JSON, without a space in it or with one after each comma and colon."""
    comma, colon = (",", ":") if compact else (", ", ": ")
    members = comma.join(f"{json.dumps(name)}{colon}{text}" for name, text in fields)
    return ("{" + members + end).encode("utf-8", "surrogatepass")


def spell(value: object, *, compact: bool) -> str:
    return json.dumps(value, separators=(",", ":") if compact else None, ensure_ascii=not compact)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8) | st.datetimes().map(dt.datetime.isoformat) | st.dates().map(dt.date.isoformat),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["sku", "quantity", "unit_price", "city", "rent", "since", "x"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
numbers = st.builds(
    lambda sign, whole, fraction, power: f"{sign}{int(whole)}{'.' + fraction if fraction else ''}{power}",
    st.sampled_from(["", "-"]),
    st.text("0123456789", min_size=1, max_size=20),
    st.text("0123456789", max_size=14),
    st.sampled_from(["", "", "", "e0", "E+3", "e-3", "e17", "e-18"]),
)
texts = st.one_of(
    st.sampled_from(LITERALS),
    values.map(json.dumps),
    values.map(lambda value: json.dumps(value, ensure_ascii=False)),
    numbers,
    numbers.map(lambda text: f'"{text}"'),
    numbers.map(lambda text: f'[{{"sku": "A", "quantity": 1, "unit_price": {text}}}]'),
    numbers.map(lambda text: f'{{"rent": {text}, "size": {text}}}'),
    numbers.map(lambda text: f"[[{text}]]"),
)


@st.composite
def payloads(draw: st.DrawFn, name: str) -> bytes:
    """A good payload, a mutation of one, or anything."""
    kind = draw(st.sampled_from(["good", "changed", "changed", "changed", "cut", "bytes", "whole"]))
    compact = draw(st.booleans())
    fields = [(field, spell(value, compact=compact)) for field, value in GOOD[name].items()]
    end = "}"
    if kind == "changed":
        for _ in range(draw(st.integers(1, 2))):
            index = draw(st.integers(0, len(fields) - 1))
            action = draw(st.sampled_from(["replace", "replace", "replace", "drop", "repeat", "rename", "add", "end"]))
            field = fields[index][0]
            if action == "replace":
                fields[index] = (field, draw(texts))
            elif action == "drop" and len(fields) > 1:
                del fields[index]
            elif action == "repeat":
                fields.append((field, draw(texts)))
            elif action == "add":
                fields.append(("", draw(texts)))
            elif action == "end":
                end = draw(st.sampled_from([",}", " }", "}\n", ",\t}", "]", ""]))
            else:
                fields[index] = (field.upper(), draw(texts))
    content = render(fields, compact=compact, end=end)
    if kind == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if kind == "bytes":
        at = draw(st.integers(0, len(content)))
        return content[:at] + draw(st.binary(max_size=3)) + content[at:]
    return draw(st.sampled_from(WHOLE)) if kind == "whole" else content


def one_by_one(batch: list[bytes], name: str) -> list[dict[str, Any]]:
    """What the reference makes of each payload, in the decoder's form."""
    rows: list[dict[str, Any]] = []
    for payload in batch:
        try:
            rows.append({**exact.decode(payload, CONTRACTS[name]), ERROR: None})
        except exact.Rejected as reason:
            rows.append({**dict.fromkeys(column.name for column in CONTRACTS[name]), RESCUED: None, ERROR: str(reason)})
    return pl.DataFrame(
        rows, schema={**polars_schema(CONTRACTS[name]), RESCUED: pl.String, ERROR: pl.String}
    ).to_dicts()


def by_column(batch: list[bytes], name: str) -> list[dict[str, Any]]:
    return DECODERS[name].decode(pl.Series(batch, dtype=pl.Binary)).to_dicts()


def shown(rows: list[dict[str, Any]]) -> list[str]:
    # By their text: 0.0 and -0.0, 1 and True are different values here.
    return [repr(row) for row in rows]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_every_literal_in_every_field(name: str) -> None:
    batch = [
        render(
            [
                (field, text if field == changed else spell(value, compact=compact))
                for field, value in {**GOOD[name], "": None}.items()
            ],
            compact=compact,
        )
        for compact in (True, False)
        for changed in [*GOOD[name], ""]
        for text in LITERALS
    ]
    batch += WHOLE
    expected, found = shown(one_by_one(batch, name)), shown(by_column(batch, name))
    different = [
        (payload[:300], one, other) for payload, one, other in zip(batch, expected, found, strict=True) if one != other
    ]
    assert not different


# Spellings that other decoders shorten, and what might pass unseen beside them.
SHORTENED = ["1.50", "12.5000000000000000", "1E2", "100.00", "1e-5", "-0.0", "0.00", '"\\u0041"']
HIDDEN = [
    "1e-400",
    "0.30000000000000001",
    "12.5000000000000000000001",
    "1234567890123456.7",
    "5",
    '"s"',
    "{}",
    "[5]",
    "[55]",
]


@pytest.mark.parametrize("name", sorted(CONTRACTS))
@pytest.mark.parametrize("end", ["}", ",}", ',"":NaN}', ',"":-inf}', ',"":[1,]}'])
def test_nothing_hides_in_a_compact_payload(name: str, end: str) -> None:
    batch = [
        render(
            [(field, texts.get(field, spell(value, compact=True))) for field, value in GOOD[name].items()],
            compact=True,
            end=end,
        )
        for shortened in GOOD[name]
        for hiding in GOOD[name]
        for one in SHORTENED
        for other in HIDDEN
        for texts in ({shortened: one, hiding: other},)
    ]
    assert shown(by_column(batch, name)) == shown(one_by_one(batch, name))


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_any_batch_decodes_as_each_payload_alone(name: str) -> None:
    @settings(max_examples=40)
    @given(st.lists(payloads(name), min_size=1, max_size=12))
    def check(batch: list[bytes]) -> None:
        assert shown(by_column(batch, name)) == shown(one_by_one(batch, name))

    check()


def test_warming_up_compiles_what_decoding_uses() -> None:
    program = """
        from dagster_project.ingest import scanner, warm
        before = len(scanner.scan.signatures), len(scanner.views.signatures)
        import polars as pl
        from dagster_project.contract.model import Column, DataType
        from dagster_project.ingest.decode import Decoder
        Decoder((Column(name="a", type=DataType(kind="string")),)).decode(pl.Series([b'{"a":"b"}'])[:1])
        print(before == (1, 1) == (len(scanner.scan.signatures), len(scanner.views.signatures)))
    """
    answer = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=120
    )
    assert answer.stdout == "True\n"


def test_text_is_utf8_and_nothing_else() -> None:
    edges = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0]
    bytes_ = (bytes(some) for some in product(range(0x80, 0x100), edges, (0x80, 0xBF, 0xC0), (0x41, 0x80, 0xBF)))
    batch = [b'{"text":"' + some[:length] + end for some in bytes_ for length in (1, 2, 3, 4) for end in (b'"}', b"")]
    batch = list(dict.fromkeys(batch))
    found = DECODERS["kinds"].decode(pl.Series(batch, dtype=pl.Binary)).select("text", ERROR).rows()
    sound = [payload for payload, (text, _) in zip(batch, found, strict=True) if text is not None]
    assert len(sound) > 500
    for payload, (text, error) in zip(batch, found, strict=True):
        try:
            expected = json.loads(payload.decode("utf-8"))["text"]
        except ValueError:
            assert text is None
            assert str(error).startswith(("payload.utf8", "payload.json"))
        else:
            assert (text, error) == (expected, None)


def test_lists_of_any_length_find_room() -> None:
    long = {
        **GOOD["kinds"],
        "tags": [str(number) for number in range(1_000)],
        "grid": [[number] * 9 for number in range(300)],
    }
    batch = [json.dumps(document).encode() for document in (GOOD["kinds"], long, GOOD["kinds"])]
    # A decoder of its own: one that has met longer lists keeps more room.
    found = Decoder(CONTRACTS["kinds"]).decode(pl.Series(batch, dtype=pl.Binary)).to_dicts()
    assert shown(found) == shown(one_by_one(batch, "kinds"))


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_the_scanner_does_the_same_uncompiled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("numba.core.config.DISABLE_JIT", True)
    spec = find_spec(scanner.__name__)
    assert spec is not None
    assert spec.loader is not None
    plain = module_from_spec(spec)
    spec.loader.exec_module(plain)
    assert not hasattr(plain.scan, "py_func")
    batch = pl.Series(
        [
            render([(field, text if field == changed else spell(value, compact=True)) for field, value in good.items()])
            for good in [GOOD[name]]
            for changed in good
            for text in LITERALS
            if len(text) < 100
        ],
        dtype=pl.Binary,
    )
    compiled = DECODERS[name].decode(batch)
    monkeypatch.setattr("dagster_project.ingest.decode.scanner", plain)
    assert DECODERS[name].decode(batch).equals(compiled)


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_usual_spellings_leave_no_doubt(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("decoded one by one")

    monkeypatch.setattr(exact, "decode", never)
    for ascii_only in (True, False):
        for separators in ((",", ":"), (", ", ": ")):
            more = {**GOOD[name], "unknown": {"a": [1, -2.5e3, {"b": None}], "c": 'é"😀'}}
            payload = json.dumps(more, ensure_ascii=ascii_only, separators=separators).encode()
            (row,) = by_column([payload], name)
            assert row[ERROR] is None


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"\xff", "payload.utf8: invalid byte at 0"),
        (b"", "payload.json: Expecting value"),
        (b'{"region": NaN}', "payload.json: NaN is not JSON"),
        (b"[]", "payload.object: found array"),
        (b"null", "payload.object: found null"),
        (b'{"order_id": 5}', "order_id.type: found number, expected string"),
        (b'{"amount": true}', "amount.type: found boolean, expected decimal(18, 2)"),
        (b'{"amount": 1.005}', "amount.scale: more than 2 decimals, expected decimal(18, 2)"),
        (b'{"amount": 10000000000000000}', "amount.range: does not fit decimal(18, 2)"),
        (b'{"event_time": "soon"}', "event_time.type: expected an ISO 8601 timestamp of at most microseconds"),
        (b'{"note": "\\ud800"}', "note.utf8: lone surrogate"),
        (
            b'{"items": {}}',
            "items.type: found object, expected list<struct<sku string, quantity int, unit_price decimal(18, 2)>>",
        ),
        (b'{"items": [{"quantity": 2147483648}]}', "items[].quantity.range: does not fit int"),
        (b'{"items": [{"quantity": 1.5}]}', "items[].quantity.type: found a fraction or a huge number, expected int"),
        (b"[" * 100_000, "payload.depth: nested too deeply"),
    ],
)
def test_the_reason_names_the_place_and_never_the_value(payload: bytes, reason: str) -> None:
    good = json.dumps(GOOD["orders"]).encode()
    before, poison, after = by_column([good, payload, good], "orders")
    assert poison == {**dict.fromkeys(column.name for column in CONTRACTS["orders"]), RESCUED: None, ERROR: reason}
    assert before == after
    assert before[ERROR] is None


def test_values_arrive_as_the_contract_types_them() -> None:
    (row,) = by_column([json.dumps(GOOD["orders"]).encode()], "orders")
    assert row["amount"] == Decimal("12.50")
    assert row["ordered_at"] == dt.datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=dt.UTC)
    assert row["event_time"] == dt.datetime(2026, 2, 3, 4, 0, tzinfo=dt.UTC)
    assert row["items"] == [{"sku": "AB-1", "quantity": 2, "unit_price": Decimal("6.25")}]


def test_an_amount_of_many_digits_is_kept_to_the_last() -> None:
    batch = [b'{"amount": 1234567890123456.78, "items": [{"unit_price": 1234567890123456.77}]}']
    (row,) = by_column(batch, "orders")
    assert row["amount"] == Decimal("1234567890123456.78")
    assert row["items"][0]["unit_price"] == Decimal("1234567890123456.77")


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        (b"UA|1545", {"carrier": "UA", "flight": 1545}),
        (b"UA|15|45", "key.parts: found 3, expected 2 joined with '|'"),
        (b"UA|", "key.parts: found 2, expected 2 joined with '|'"),
        (b"UA|x", "key.type: not the merge key's values as text"),
        (b"\xff|1", "key.type: not the merge key's values as text"),
        (b"UA|99999999999", "key.flight.range: does not fit int"),
        (None, "key.parts: found 0, expected 2 joined with '|'"),
    ],
)
def test_the_key_of_a_delete(key: bytes | None, answer: dict[str, Any] | str) -> None:
    columns = [column for column in CONTRACTS["flights"] if column.name in ("carrier", "flight")]
    if isinstance(answer, dict):
        assert exact.decode_key(key, columns) == answer
    else:
        with pytest.raises(exact.Rejected) as refused:
            exact.decode_key(key, columns)
        assert str(refused.value) == answer


def test_keys_that_no_number_is() -> None:
    column = Column(name="n", type=DataType(kind="integer"))
    for text in (b"NaN", b"Infinity", b"sNaN"):
        with pytest.raises(exact.Rejected):
            exact.decode_key(text, [column])
