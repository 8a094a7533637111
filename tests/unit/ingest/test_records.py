"""Messages come out of record batches as they went in, and what is no message does not."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.errors import KafkaError
from dagster_project.ingest import unpack
from dagster_project.ingest.records import Opened, nothing, opened
from dagster_project.topics.feed import Portion
from tests.batches import GZIP, batch
from tests.hostile import Record

TOPIC = "test.records"
_COUNT_AT, _CRC_AT, _ATTRIBUTES_AT, _LATEST_AT, _RECORDS_AT = 57, 17, 21, 35, 61


def record(place: int, content: bytes | None, name: bytes | None = b"k", *fields: tuple[str, bytes | None]) -> Record:
    return Record(place=place, content=content, name=name, fields=list(fields), sent_ms=1_000 + place)


def open_(*contents: bytes, following: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> Opened:
    portion = Portion(partition=3, content=b"".join(contents), aborted=tuple(aborted), end=0)
    return opened(portion, topic=TOPIC, following=following)


def rows(found: Opened) -> list[tuple[Any, ...]]:
    names = ("_kafka_offset", "_kafka_timestamp", "_key", "_payload", "_headers", "_correlation_id")
    return found.messages.with_columns(found.messages["_kafka_timestamp"].dt.epoch("ms")).select(names).rows()


def expected(record: Record) -> tuple[Any, ...]:
    fields = record.fields or []
    named = [value for key, value in fields if key == "correlation_id" and value]
    correlation = named[-1].decode("utf-8", "replace") if named else f"{TOPIC}/3/{record.place}"
    headers = [{"key": key, "value": value} for key, value in fields]
    return (record.place, record.sent_ms, record.name, record.content, headers, correlation)


def resealed(content: bytes, changes: dict[int, bytes]) -> bytes:
    """Bytes of a batch replaced, and the checksum made to fit."""
    changed = bytearray(content)
    for at, new in changes.items():
        changed[at : at + len(new)] = new
    changed[_CRC_AT : _CRC_AT + 4] = struct.pack(">I", google_crc32c.value(bytes(changed[_ATTRIBUTES_AT:])))
    return bytes(changed)


_BYTES = st.none() | st.binary(max_size=300)
_HEADER = st.tuples(
    st.sampled_from(["a", "", "correlation_id", "correlation_i?", "Łódź"]), st.none() | st.binary(max_size=20)
)
_RECORDS = st.lists(
    st.builds(
        Record,
        place=st.integers(1, 5),  # the distance to the one before
        content=_BYTES,
        name=_BYTES,
        fields=st.lists(_HEADER, max_size=3),
        sent_ms=st.integers(0, 1 << 42),
    ),
    max_size=30,
)


@given(
    _RECORDS,
    st.integers(0, 1 << 50),
    st.lists(st.integers(0, 30), max_size=3),
    st.sampled_from([0, GZIP]),
    st.integers(0, 60),
)
def test_messages_come_out_as_they_went_in(
    drawn: list[Record], base: int, cuts: list[int], codec: int, skipped: int
) -> None:
    offset, sent = base, list[Record]()
    for drawn_record in drawn:
        sent.append(replace(drawn_record, place=offset))
        offset += drawn_record.place
    bounds = [0, *sorted(cuts), len(sent)]
    parts = [sent[first:last] for first, last in pairwise(bounds) if sent[first:last]]
    found = open_(*(batch(part, codec=codec) for part in parts), following=base + skipped)
    wanted = [one for one in sent if one.place >= base + skipped]
    assert rows(found) == [expected(one) for one in wanted]
    assert found.next == max([base + skipped, *(one.place + 1 for one in sent)])
    assert found.messages.schema == nothing().schema


def test_the_kernels_are_the_same_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    named = ("correlation_id", b"\xff")
    sent = [record(7 + n, b"v" * n, None if n % 3 else b"k", *[named] * (n % 4)) for n in range(200)]
    compiled = rows(open_(batch(sent)))
    assert compiled == [expected(one) for one in sent]
    for name in ("_number", "_names_correlation", "records", "headers"):
        monkeypatch.setattr(unpack, name, _plain(getattr(unpack, name)))
    assert not hasattr(unpack.records, "py_func")
    assert rows(open_(batch(sent))) == compiled


def _plain(function: Any) -> Any:
    return getattr(function, "py_func", function)


def test_the_brokers_clock_counts_where_the_topic_says_so() -> None:
    sent = [record(0, b"a"), record(1, b"b")]
    appended = resealed(batch(sent), {_ATTRIBUTES_AT: struct.pack(">h", 1 << 3), _LATEST_AT: struct.pack(">q", 77)})
    assert [row[1] for row in rows(open_(appended))] == [77, 77]


def test_aborted_and_control_records_are_passed_over() -> None:
    one = batch([record(0, b"aborted")], producer=5, transactional=True)
    two = batch([record(1, b"committed")], producer=6, transactional=True)
    marks = [
        resealed(batch([record(at, b"mark")], producer=who), {_ATTRIBUTES_AT: struct.pack(">h", 0b110000)})
        for at, who in ((2, 5), (3, 6))
    ]
    again = batch([record(4, b"later")], producer=5, transactional=True)
    found = open_(one, two, *marks, again, aborted=[(5, 0)])
    assert [row[3] for row in rows(found)] == [b"committed", b"later"]
    assert found.next == 5


def test_the_end_of_a_portion_may_be_cut_anywhere() -> None:
    first, second = batch([record(0, b"a"), record(1, b"b")]), batch([record(2, b"c")])
    for length in range(len(second)):
        found = open_(first + second[:length])
        assert ([row[0] for row in rows(found)], found.next) == ([0, 1], 2)


def test_a_damaged_batch_is_an_error_wherever_it_is() -> None:
    whole = batch([record(10, b"value", b"key", ("h", b"v"))])
    for at in range(_ATTRIBUTES_AT, len(whole)):
        with pytest.raises(KafkaError, match=r"3/10-\d+ is damaged: its checksum"):
            open_(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def test_records_that_lie_about_their_size_are_an_error_and_not_a_crash() -> None:
    whole = batch([record(10, b"value", b"key", ("h", b"v")), record(11, b"other")])
    refused = 0
    for at in range(_RECORDS_AT, len(whole)):
        for byte in (0x00, 0x01, 0x7F, 0x80, 0xFF):
            try:
                found = open_(resealed(whole, {at: bytes([byte])}))
            except KafkaError:
                refused += 1
                continue
            # What still holds together was read to its end, and no further.
            assert all(len(row[3] or b"") <= len(whole) for row in rows(found))
    assert refused > (len(whole) - _RECORDS_AT)
    more = resealed(whole, {_COUNT_AT: struct.pack(">i", 3)})
    with pytest.raises(KafkaError, match="its records do not fit into it"):
        open_(more)
    fewer = resealed(whole, {_COUNT_AT: struct.pack(">i", 1)})
    with pytest.raises(KafkaError, match="its records do not fit into it"):
        open_(fewer)


def test_no_portion_has_no_message() -> None:
    assert nothing().is_empty()
    assert np.array_equal(nothing().columns[:3], ["_kafka_partition", "_kafka_offset", "_kafka_timestamp"])
