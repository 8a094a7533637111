"""The flights of 2013, as the contract wants them."""

from __future__ import annotations

import datetime as dt
import json
from itertools import islice

import pytest

from dagster_project.contract.model import Dataset
from dagster_project.sources.events import Event
from dagster_project.sources.flights import Flights


@pytest.fixture(scope="module")
def flights(datasets: dict[str, Dataset]) -> Flights:
    return Flights(dataset=datasets["flights"])


@pytest.fixture(scope="module")
def stream(flights: Flights) -> list[Event]:
    return list(flights)


def test_all_flights_are_there_once(flights: Flights, stream: list[Event]) -> None:
    assert len(stream) == len(flights) == 336_776
    assert len({event.key for event in stream}) == len(stream)


def test_the_first_flight(stream: list[Event]) -> None:
    first = stream[0]
    assert first.key == b"UA|1545|EWR|2013-01-01T10:15:00Z"
    assert b" " not in first.value
    # 05:15 in New York; the other values as the data file has them.
    assert json.loads(first.value) == {
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
    }


def test_they_come_in_the_order_of_departure(stream: list[Event]) -> None:
    times = [event.event_time or "" for event in stream]
    assert times == sorted(times)
    # The last one of the year leaves at 23:59 in New York.
    assert times[-1] == "2014-01-01T04:59:00Z"


def test_columns_are_the_contracts_and_missing_numbers_are_null(flights: Flights, stream: list[Event]) -> None:
    rows = [json.loads(event.value) for event in stream]
    names = {column.name for column in flights.dataset.columns}
    assert all(row.keys() == names for row in rows)
    required = {column.name for column in flights.dataset.columns if column.required}
    nulls = {name: sum(row[name] is None for row in rows) for name in names}
    # As counted in the data file.
    assert {name: count for name, count in nulls.items() if count} == {
        "tailnum": 2_512,
        "dep_time": 8_255,
        "dep_delay": 8_255,
        "arr_time": 8_713,
        "arr_delay": 9_430,
        "air_time": 9_430,
    }
    assert not required & {name for name, count in nulls.items() if count}
    assert all(not isinstance(value, float) for row in rows for value in row.values())


def test_a_live_flight_departs_when_it_is_sent(datasets: dict[str, Dataset]) -> None:
    before = dt.datetime.now(dt.UTC)
    live = Flights(dataset=datasets["flights"], live_since=before)
    events = list(islice(live, 3_000))
    for event in events:
        row = json.loads(event.value)
        assert event.key == "|".join(str(row[name]) for name in live.dataset.merge_key).encode()
        assert before <= dt.datetime.fromisoformat(row["scheduled_departure"]) <= dt.datetime.now(dt.UTC)
    assert len({event.key for event in events}) == len(events)
    assert live.progress_group != Flights(dataset=datasets["flights"]).progress_group
