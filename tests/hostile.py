"""Messages that nobody should send, among good ones: seeded, so that a failure can be had again."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any

EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# Every kind of column, nested ones among them.
CONTRACT = """\
apiVersion: v3.2.0
kind: DataContract
id: probes
name: Probes
version: 1.0.0
status: active
servers:
  - {server: kafka, type: kafka, host: "localhost:9092", format: json}
schema:
  - name: probes
    physicalName: test.probes
    physicalType: topic
    logicalType: object
    customProperties:
      - {property: eventTime, value: at}
      - {property: startDate, value: "2026-01-01"}
      - {property: writeMode, value: upsert}
    properties:
      - {name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1}
      - {name: at, logicalType: timestamp, required: true}
      - {name: region, logicalType: string, required: true, partitioned: true, enum: [{value: eu}, {value: us}]}
      - {name: level, logicalType: integer, logicalTypeOptions: {minimum: 0}}
      - {name: small, logicalType: integer, logicalTypeOptions: {format: i32}}
      - {name: amount, logicalType: number, physicalType: "decimal(18, 2)"}
      - {name: ratio, logicalType: number}
      - {name: flag, logicalType: boolean}
      - {name: day, logicalType: date}
      - {name: text, logicalType: string}
      - {name: tags, logicalType: array, items: {logicalType: string}}
      - name: place
        logicalType: object
        properties:
          - {name: city, logicalType: string}
          - {name: since, logicalType: timestamp}
          - {name: rent, logicalType: number, physicalType: "decimal(38, 10)"}
          - {name: floors, logicalType: array, items: {logicalType: integer}}
team:
  name: testers
"""
_TEXTS = ["", "plain", "Łódź", "日本", "😀", "a\nb", "\t", "\x00", "a\x00b", '"', "\\", "'", ",}", ", ]", "NaN", "-Infinity", "nan", "inf",
          "null", "{", "}", "[1,]", "//", "/* */", "\u2028", "\ufeff", "\u202e", "é", "e\u0301", "0" * 40, "<b>", "1e400", "$.id"]  # fmt: skip
_VALUES = [
    "null", "true", "false", "0", "-0", "-0.0", "1", "-1", "1.0", "1.5", "1e2", "1e400", "-1e400", "1e-400", "1E+3", "1e999999999", "1e-999999999",
    "NaN", "Infinity", "-Infinity", "nan", "inf", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809",
    "18446744073709551615", "18446744073709551616", "2147483648", "9007199254740993", "1" * 60, "0.1" + "0" * 60 + "1", "12345678901234567.89",
    "0.001", "99999999999999999.99", "01", "+1", ".5", "5.", "0x1F", "1_000", "1,5", "--1", "1e", "undefined", "None", "True",
    '""', '"x"', '"1"', '"1.50"', '"1e3"', '"NaN"', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\x41"', '"\\u12"', '"\n"',
    '"\x00"', '"\x1f"', "'x'", "[]", "{}", "[null]", "[[]]", "[1, 2]", '["a", 1]', '[{"a": 1}]', '{"city": 1}', '{"city": "x", "city": 2}',
    '{"rent": 1e30}', '{"rent": 0.12345678901}', '{"since": "2026-01-01T00:00:60Z"}', '{"floors": [1, null, 2.0, 2.5]}', '{"floors": [9223372036854775808]}',
    '"2026-01-01"', '"2026-01-01T00:00:00Z"', '"2026-01-01T23:59:60Z"', '"2016-12-31T23:59:60+00:00"', '"2026-02-30T00:00:00Z"', '"2026-01-01T24:00:00Z"',
    '"0000-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59.999999-12:00"', '"10000-01-01T00:00:00Z"', '"-0001-01-01"',
    '"2026-01-01T00:00:00+25:00"', '"2026-01-01T00:00:00 Europe/Berlin"', '"2026-01-01T00:00:00[UTC]"', '"2026-01-01T00:00:00.1234567Z"', '"20260101T000000Z"',
    '"2026-W01-1"', '"1767225600"', "1767225600", "1767225600000", '"now"', '"epoch"', '"infinity"', '"2099-01-01T00:00:00Z"', '"1999-01-01T00:00:00Z"', '"mars"', '"EU"', '" eu"',
]  # fmt: skip
_WHOLE = [
    b"", b" ", b"\n\n", b"\t\r\n ", b"\x00", b"null", b"true", b"1", b'"text"', b"[]", b"[{}]", b"{}", b"{", b"}", b"nul", b"\xef\xbb\xbf", b"\xff\xfe{\x00}\x00",
    b"<!doctype html><html><body>502 Bad Gateway</body></html>", b'<?xml version="1.0"?><event id="1"/>', b"id,at,region\n1,2026-01-01,eu\n", b"---\nid: 1\n",
    b"\x08\x96\x01\x12\x07testing\x1a\x02eu", b"PK\x03\x04", b"\x1f\x8b", gzip.compress(b'{"id": "1"}', mtime=0), b"Obj\x01\x04\x14avro.codec", b"PAR1",
    b"\x00" + struct.pack(">I", 42), b"\x00" + struct.pack(">I", 42) + b"\x02a\x00\x06eu", b"\x00\x00\x00", b"\x82\xa2id\xa11", b"\x80\x04\x95", b"%PDF-1.7",
    b"[" * 10_000, b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"{'id': '1'}", b"{id: 1}", b"{,}", b'{"id" "1"}',
]  # fmt: skip
_BROKEN_UTF8 = [b"\xff", b"\xfe", b"\x80", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xc3", b"\xe2\x82"]  # fmt: skip
_ESCAPED = {
    "id": "\\u0069d",
    "region": "reg\\u0069on",
    "level": "\\u006c\\u0065vel",
    "text": "te\\u0078t",
    "place": "plac\\u0065",
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """A message as it is sent to Kafka partition 0.

    Attributes:
        good: of a message that fits the contract, its columns as Python values.
    """

    place: int
    content: bytes | None
    name: bytes | None = b"k"
    fields: list[tuple[str, bytes | None]] | None = None
    good: dict[str, Any] | None = None
    sent_ms: int = int((EPOCH + dt.timedelta(days=30)).timestamp() * 1000)


def records(*, seed: int, count: int, share_good: float = 0.3) -> Iterator[Record]:
    """Good and hostile messages, with hostile keys and headers beside both."""
    rng = Random(seed)
    for place in range(count):
        if rng.random() < share_good:
            good = good_values(rng, f"good-{place}")
            yield Record(place=place, content=render(rng, good), name=_key(rng), fields=_headers(rng), good=good)
        else:
            yield Record(place=place, content=_hostile(rng, place), name=_key(rng), fields=_headers(rng))


def good_values(rng: Random, identity: str) -> dict[str, Any]:
    """Values that fit the contract, in the types that the tables give back."""

    def moment() -> dt.datetime:
        return EPOCH + dt.timedelta(microseconds=rng.randrange(28 * 86_400_000_000))

    def perhaps(value: Any) -> Any:
        return value if rng.random() < 0.8 else None

    return {
        "id": identity,
        "at": moment(),
        "region": rng.choice(["eu", "us"]),
        # Below 0 it decodes, and breaks a row rule.
        "level": perhaps(rng.choice([0, 1, 2**53 + 1, 2**63 - 1, rng.randrange(10**9), -1])),
        "small": perhaps(rng.choice([0, 2**31 - 1, -(2**31), rng.randrange(1000)])),
        "amount": perhaps(Decimal(rng.choice([0, 1, -1, rng.randrange(10**9), 10**18 - 1])).scaleb(-2)),
        "ratio": perhaps(rng.choice([0.1, 1e308, 5e-324, -2.5, rng.random(), rng.uniform(-1e6, 1e6)])),
        "flag": perhaps(rng.random() < 0.5),
        "day": perhaps(dt.date(1, 1, 1) + dt.timedelta(days=rng.randrange(3_652_059))),
        "text": perhaps(rng.choice(_TEXTS)),
        "tags": perhaps([rng.choice(_TEXTS) for _ in range(rng.randrange(4))]),
        "place": perhaps(
            {
                "city": perhaps(rng.choice(_TEXTS)),
                "since": perhaps(moment()),
                "rent": perhaps(Decimal(rng.randrange(10**15)).scaleb(-10)),
                "floors": perhaps([rng.randrange(100) for _ in range(rng.randrange(3))]),
            }
        ),
    }


def render(rng: Random, values: dict[str, Any]) -> bytes:
    """A JSON text of these values, one of many."""
    fields = [(name, _text(rng, value)) for name, value in values.items() if value is not None or rng.random() < 0.5]
    if rng.random() < 0.2:
        fields += [
            (
                rng.choice(["more", "ID", "", "😀", "a.b", '"']),
                rng.choice(['{"id": 1}', "[1, 2]", "1e400", '"x"', "null"]),
            )
        ]
    rng.shuffle(fields)
    space = rng.choice(["", " ", "\n", "\t"])
    body = ",".join(f"{space}{json.dumps(name)}{space}:{space}{text}" for name, text in fields)
    return (space + "{" + body + "}" + space).encode()


def _text(rng: Random, value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)}: {_text(rng, item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_text(rng, item) for item in value) + "]"
    if isinstance(value, dt.datetime):
        zone = dt.timezone(dt.timedelta(minutes=rng.choice([0, 60, -300, 345, 840])))
        return json.dumps(
            value.astimezone(zone).isoformat(sep=rng.choice("T ")).replace("+00:00", rng.choice(["Z", "+00:00"]))
        )
    if isinstance(value, dt.date):
        return f'"{value.year:04d}-{value.month:02d}-{value.day:02d}"'
    if isinstance(value, Decimal):
        return rng.choice([f"{value:f}", f'"{value:f}"'])
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def _hostile(rng: Random, place: int) -> bytes | None:
    return rng.choice(_KINDS)(rng, f"bad-{place}")


def _fields(rng: Random, identity: str) -> list[tuple[str, str]]:
    return [(json.dumps(name), _text(rng, value)) for name, value in good_values(rng, identity).items()]


def _join(fields: list[tuple[str, str]]) -> bytes:
    return ("{" + ", ".join(f"{name}: {text}" for name, text in fields) + "}").encode("utf-8", "surrogatepass")


def _wrong_value(rng: Random, identity: str) -> bytes:
    fields = _fields(rng, identity)
    for _ in range(rng.randrange(1, 4)):
        index = rng.randrange(len(fields))
        fields[index] = (fields[index][0], rng.choice(_VALUES))
    return _join(fields)


def _doubled_key(rng: Random, identity: str) -> bytes:
    fields = _fields(rng, identity)
    name = rng.choice(fields)[0]
    fields.insert(rng.randrange(len(fields) + 1), (name, rng.choice(_VALUES)))
    return _join(fields)


def _escaped_key(rng: Random, identity: str) -> bytes:
    fields = dict(_fields(rng, identity))
    name = rng.choice(list(_ESCAPED))
    text = fields.pop(f'"{name}"') if rng.random() < 0.7 else rng.choice(_VALUES)
    pairs = list(fields.items())
    pairs.insert(rng.randrange(len(pairs) + 1), (f'"{_ESCAPED[name]}"', text))
    return _join(pairs)


def _odd_key(rng: Random, identity: str) -> bytes:
    odd = [
        '"\\ud800"',
        '"\\u0000"',
        '""',
        '"$"',
        '"$.id"',
        '"id.x"',
        '"id\\""',
        '"ıd"',
        '"ｉｄ"',
        '"id\u200b"',
        '"\u202eid"',
        "id",
        "'id'",
        "1",
    ]
    fields = _fields(rng, identity)
    fields.insert(rng.randrange(len(fields) + 1), (rng.choice(odd), rng.choice(_VALUES)))
    return _join(fields)


def _truncated(rng: Random, identity: str) -> bytes:
    content = _join(_fields(rng, identity))
    return content[: rng.randrange(len(content))]


def _bytes_within(rng: Random, identity: str) -> bytes:
    content = _join(_fields(rng, identity))
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice([*_BROKEN_UTF8, b"\x00", b"\n", b"\xef\xbb\xbf", rng.randbytes(3)]) + content[at:]


def _bit_flipped(rng: Random, identity: str) -> bytes:
    content = bytearray(_join(_fields(rng, identity)))
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _around(rng: Random, identity: str) -> bytes:
    content = _join(_fields(rng, identity))
    before = rng.choice(
        [
            b"",
            b"\xef\xbb\xbf",
            b"\x00",
            b"// no\n",
            b"/* no */",
            b"[",
            b")]}',\n",
            b"{}",
            b"\x0b",
            b"\xc2\xa0",
            b"\x00\x00\x00\x00\x2a",
        ]
    )
    after = rng.choice(
        [b"", b"\x00", b"{}", b"\n" + content, content, b",", b"]", b"}", b" // no", b"\xe2\x80\xa8", b";"]
    )
    return before + content + after


def _comma(rng: Random, identity: str) -> bytes:
    content = _join(_fields(rng, identity))
    return content.replace(
        *rng.choice([(b", ", b",, "), (b"}", b",}"), (b'"', b"'"), (b": ", b" "), (b": ", b"= "), (b"]", b",]")])
    )


def _huge(rng: Random, identity: str) -> bytes:
    name, text = rng.choice(
        [("text", '"' + "x" * 1_000_000 + '"'), ("level", "1" * 1_000_000), ("amount", "0." + "1" * 1_000_000), ("ratio", "1" + "0" * 1_000_000),
         ("text", '"' + "\\u0000" * 100_000 + '"'), ("tags", "[" + '"t",' * 100_000 + '"t"]'), ("more", "[" * 10_000 + "]" * 10_000),
         ("place", '{"city":' * 10_000 + "1" + "}" * 10_000), ("amount", '"' + "1" * 1_000_000 + '"'), ("amount", '"1e1000000000"'), ("id", '"' + "i" * 1_000_000 + '"')]
    )  # fmt: skip
    fields = {**dict(_fields(rng, identity)), f'"{name}"': text}
    return _join(list(fields.items()))


def _rare_huge(rng: Random, identity: str) -> bytes:
    # A megabyte each: some dozens in a run of thousands are enough.
    return _huge(rng, identity) if rng.random() < 0.04 else _wrong_value(rng, identity)


_KINDS: list[Callable[[Random, str], bytes | None]] = [
    _wrong_value, _wrong_value, _doubled_key, _escaped_key, _odd_key, _truncated, _bytes_within, _bit_flipped, _around, _comma, _rare_huge,
    lambda rng, _: rng.choice(_WHOLE), lambda rng, _: rng.randbytes(rng.randrange(200)), lambda _rng, _: None,
]  # fmt: skip


def _key(rng: Random) -> bytes | None:
    return rng.choice(
        [
            None,
            b"",
            b"k",
            b"\xff\xfe",
            b"a|b",
            b"|",
            b"\x00",
            b"k" * 10_000 if rng.random() < 0.01 else b"kk",
            "clé".encode(),
        ]
    )


def _headers(rng: Random) -> list[tuple[str, bytes | None]] | None:
    choice = rng.random()
    if choice < 0.4:
        return None
    if choice < 0.402:
        return [(f"h{number}", b"v") for number in range(1_000)]
    names = ["correlation_id", "correlation_id", "x", "", "ключ", "😀"]
    contents = [None, b"", b"value", b"\xff\x00\xfe", b"\xed\xa0\x80", b"c" * 2_000, "é".encode()]
    return [(rng.choice(names), rng.choice(contents)) for _ in range(rng.randrange(4))]
