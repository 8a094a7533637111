"""A call into the client library is waited for, but not for ever."""

from __future__ import annotations

import threading

import confluent_kafka as ck
import pytest

from dagster_project.topics.patience import Abandoned, bounded

SECONDS = 10.0


def test_an_answer_and_an_error_come_through() -> None:
    assert bounded(lambda: 7, seconds=SECONDS) == 7

    def refuse() -> None:
        raise ck.KafkaException(ck.KafkaError(ck.KafkaError._FENCED))

    with pytest.raises(ck.KafkaException) as raised:
        bounded(refuse, seconds=SECONDS)
    assert raised.value.args[0].code() == ck.KafkaError._FENCED


def test_a_call_that_hangs_is_given_up_as_timed_out() -> None:
    never = threading.Event()
    try:
        with pytest.raises(Abandoned) as raised:
            bounded(never.wait, seconds=0.05)
    finally:
        never.set()
    assert raised.value.args[0].code() == ck.KafkaError.REQUEST_TIMED_OUT
