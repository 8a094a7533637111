"""Headers of letters, receipts and messages that are sent again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.outbox.headers import (
    LETTER,
    RECEIPT,
    REPLAY_ATTEMPT,
    REPLAY_OF,
    Header,
    replays,
    resent,
    sign,
    signed,
)

VALUES = {
    "topic": "a.b",
    "partition": 3,
    "offset": 41,
    "error": "región.enum: not one of eu, us",
    "correlation_id": "c-1",
    "batch": 7,
    "topic_id": "AbC_d-9",
}
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["correlation_id", "lakehouse.dlq.topic", "lakehouse.dlq.topic_id", "x"]),
        st.none() | st.binary(max_size=4),
    ),
    max_size=9,
)


def test_a_letter_has_the_headers_as_received_and_then_its_own() -> None:
    received: list[Header] = [("correlation_id", b"c-1"), ("x", None), ("x", b"\xff")]
    assert sign(received, LETTER, VALUES) == [
        *received,
        ("lakehouse.dlq.topic", b"a.b"),
        ("lakehouse.dlq.partition", b"3"),
        ("lakehouse.dlq.offset", b"41"),
        ("lakehouse.dlq.error", "región.enum: not one of eu, us".encode()),
        ("lakehouse.dlq.correlation_id", b"c-1"),
        ("lakehouse.dlq.batch", b"7"),
        ("lakehouse.dlq.topic_id", b"AbC_d-9"),
    ]


@given(received=HEADERS)
def test_headers_as_received_come_back_whatever_they_are_called(received: list[Header]) -> None:
    found = signed(sign(received, LETTER, VALUES), LETTER)
    assert found == (received, {name: str(value) for name, value in VALUES.items()})


@given(received=HEADERS)
def test_a_letter_is_never_taken_for_a_receipt(received: list[Header]) -> None:
    receipt = sign((), RECEIPT, {**VALUES, "replayed_as_attempt": 1})
    assert signed(sign([*received, *receipt], LETTER, VALUES), RECEIPT) is None
    assert signed(receipt, LETTER) is None
    assert signed(receipt, RECEIPT) is not None


def test_a_message_says_where_it_failed_first_and_how_often_it_was_sent() -> None:
    first = resent([("correlation_id", b"c-1"), ("x", None)], origin="a.b/3/41", attempt=1, correlation_id="c-1")
    assert first == [
        ("correlation_id", b"c-1"),
        ("x", None),
        (REPLAY_OF, b"a.b/3/41"),
        (REPLAY_ATTEMPT, b"1"),
    ]
    assert replays(first) == ("a.b/3/41", 1)
    second = resent(first, origin="a.b/3/41", attempt=2, correlation_id="c-1")
    assert replays(second) == ("a.b/3/41", 2)
    assert len(second) == len(first)


@pytest.mark.parametrize("received", [[], [("correlation_id", None)], [("correlation_id", b""), ("x", b"y")]])
def test_a_message_without_a_correlation_id_keeps_the_one_that_it_was_known_by(received: list[Header]) -> None:
    first = resent(received, origin="a.b/3/41", attempt=1, correlation_id="a.b/3/41")
    assert first[-3] == ("correlation_id", b"a.b/3/41")
    assert resent(first, origin="a.b/3/41", attempt=2, correlation_id="a.b/3/41")[:-1] == first[:-1]


@pytest.mark.parametrize(
    "received",
    [
        [],
        [(REPLAY_OF, b"a/0/1")],
        [(REPLAY_ATTEMPT, b"1")],
        [(REPLAY_OF, b"a/0/1"), (REPLAY_ATTEMPT, b"-1")],
        [(REPLAY_OF, b"a/0/1"), (REPLAY_ATTEMPT, b"99999999999999999999")],
        [(REPLAY_OF, None), (REPLAY_ATTEMPT, b"1")],
        [(REPLAY_OF, b"a/0/1"), (REPLAY_ATTEMPT, None)],
    ],
)
def test_headers_that_the_platform_would_not_write_are_no_replay(received: list[Header]) -> None:
    assert replays(received) == (None, 0)
