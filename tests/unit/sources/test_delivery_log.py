"""The delivery log: line n is event n, whatever interrupted its writer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dagster_project.errors import KafkaError
from dagster_project.sources.delivery_log import Delivery, DeliveryLog
from dagster_project.sources.events import Event

GOOD = Event(key=b'a"|\xc3\xa9', value=b'{"amount":12.50}', headers=(), kind="valid", event_time="2026-06-01T00:00:00Z")
BROKEN = Event(key=None, value=b'{"amo', headers=(), kind="decode", trouble="truncated")


@pytest.fixture
def log(tmp_path: Path) -> DeliveryLog:
    return DeliveryLog(tmp_path / "oracle" / "topic" / "log.ndjson")


def test_a_line_is_the_event_and_its_place(log: DeliveryLog) -> None:
    log.append([Delivery(0, 3, 40, GOOD), Delivery(1, 5, 0, BROKEN)])
    good, broken = log.path.read_text().splitlines()
    assert json.loads(good) == {
        "index": 0,
        "partition": 3,
        "offset": 40,
        "kind": "valid",
        "late": False,
        "trouble": "",
        "key": 'a"|é',
        "event_time": "2026-06-01T00:00:00Z",
        "value": {"amount": 12.5},
    }
    assert '"value":{"amount":12.50}' in good
    assert (
        json.loads(broken).items() >= {"key": None, "event_time": None, "value": None, "trouble": "truncated"}.items()
    )


def test_rewind_takes_away_what_was_never_committed(log: DeliveryLog) -> None:
    log.append(Delivery(number, 0, number, GOOD) for number in range(5))
    with log.path.open("ab") as file:
        file.write(b'{"index":5,"par')  # a writer that was killed
    log.rewind(3)
    log.append([Delivery(3, 0, 30, GOOD)])
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [(line["index"], line["offset"]) for line in lines] == [(0, 0), (1, 1), (2, 2), (3, 30)]


def test_a_log_that_lacks_committed_events_is_refused_and_left_alone(log: DeliveryLog) -> None:
    log.append([Delivery(0, 0, 0, GOOD)])
    before = log.path.read_bytes()
    with pytest.raises(KafkaError, match="tells of 1 events, but 2 are in the topic"):
        log.rewind(2)
    assert log.path.read_bytes() == before
