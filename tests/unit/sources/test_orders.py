"""The generated order events: the same every time, as much trouble as asked for, and each trouble what it says."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from dagster_project.contract.model import Dataset
from dagster_project.errors import ConfigurationError
from dagster_project.sources.events import Event
from dagster_project.sources.orders import DEFAULT_START, SPAN, Orders
from dagster_project.sources.poison import BROKEN_TEXT, TROUBLES, UNDECODABLE

EVENTS = 20_000
LATENESS = dt.timedelta(minutes=10)


@pytest.fixture(scope="module")
def orders(datasets: dict[str, Dataset]) -> Dataset:
    return datasets["orders"]


@pytest.fixture(scope="module")
def stream(orders: Dataset) -> list[Event]:
    return list(Orders(dataset=orders, events=EVENTS, seed=7, poison=0.02))


@pytest.fixture(scope="module")
def valid(stream: list[Event]) -> list[Event]:
    return [event for event in stream if event.kind == "valid"]


def row(event: Event) -> dict[str, Any]:
    return json.loads(event.value, parse_float=Decimal)


def moment(text: str | None) -> dt.datetime:
    assert text is not None
    return dt.datetime.fromisoformat(text)


def test_the_same_parameters_give_the_same_events_to_the_byte(orders: Dataset, stream: list[Event]) -> None:
    assert list(Orders(dataset=orders, events=EVENTS, seed=7, poison=0.02)) == stream


@pytest.mark.parametrize("other", [{"seed": 8}, {"events": EVENTS + 1}, {"start": DEFAULT_START + SPAN}])
def test_other_parameters_place_other_orders(orders: Dataset, stream: list[Event], other: dict[str, Any]) -> None:
    source = replace(Orders(dataset=orders, events=EVENTS, seed=7, poison=0.02), **other)
    keys = {event.key for event in islice(source, 2_000)}
    assert not keys & {event.key for event in stream} - {None, b"5"}


def test_there_is_as_much_trouble_as_asked_for(stream: list[Event]) -> None:
    assert len(stream) == EVENTS
    kinds = Counter(event.kind for event in stream)
    # Five standard deviations of the counts.
    assert kinds["duplicate"] == pytest.approx(0.05 * EVENTS, abs=155)
    assert kinds["decode"] + kinds["gate"] == pytest.approx(0.02 * EVENTS, abs=100)
    assert sum(event.late for event in stream if event.kind == "valid") == pytest.approx(0.03 * EVENTS, abs=120)


def test_no_trouble_unless_asked_for(orders: Dataset) -> None:
    clean = list(Orders(dataset=orders, events=2_000, seed=1, duplicates=0, late=0, poison=0))
    assert {(event.kind, event.late) for event in clean} == {("valid", False)}


def test_a_duplicate_is_an_earlier_event_to_the_byte(stream: list[Event]) -> None:
    sent: set[tuple[object, ...]] = set()
    for event in stream:
        record = (event.key, event.value, event.headers)
        assert (record in sent) == (event.kind == "duplicate")
        sent.add(record)


def test_late_is_beyond_the_allowed_lateness_behind_the_newest_event(stream: list[Event]) -> None:
    newest = DEFAULT_START
    for event in stream:
        if event.kind in ("valid", "duplicate"):
            assert event.late == (moment(event.event_time) < newest - LATENESS)
            newest = max(newest, moment(event.event_time))


def test_orders_go_from_created_to_the_end_and_keep_all_but_their_state(valid: list[Event]) -> None:
    events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in valid:
        columns = row(event)
        assert event.key == columns["order_id"].encode()
        assert event.event_time == columns["event_time"] >= columns["ordered_at"]
        events[columns["order_id"]].append(columns)
    out_of_order = 0
    for states in events.values():
        assert len({json.dumps(state | {"event_time": 0, "status": 0}, default=str) for state in states}) == 1
        in_order = sorted(states, key=lambda state: state["event_time"])
        out_of_order += in_order != states
        path = [state["status"] for state in in_order]
        # One that ends without its payment was overtaken at the very end of the stream.
        assert path in (
            ["created"],
            ["created", "paid"],
            ["created", "cancelled"],
            ["created", "paid", "shipped"],
            ["created", "paid", "cancelled"],
        ) or (states[-1] == row(valid[-1]) and path == ["created", "shipped"])
    assert out_of_order > 0.01 * len(events)


def test_amounts_are_the_exact_sums_of_the_items(valid: list[Event]) -> None:
    for event in valid:
        columns = row(event)
        assert columns["amount"] == sum(item["quantity"] * item["unit_price"] for item in columns["items"])
        numbers = re.findall(rb'"(?:amount|unit_price)":([^,}]+)', event.value)
        assert all(re.fullmatch(rb"\d+\.\d\d", number) for number in numbers)
        if columns["currency"] == "JPY":
            assert all(number.endswith(b".00") for number in numbers)


def test_regions_differ_in_size_and_have_their_currency(valid: list[Event]) -> None:
    pairs = Counter((columns["region"], columns["currency"]) for columns in map(row, valid))
    assert set(pairs) == {("eu", "EUR"), ("us", "USD"), ("apac", "JPY")}
    assert pairs["eu", "EUR"] > pairs["us", "USD"] > pairs["apac", "JPY"]


def test_notes_are_absent_null_escaped_or_not(valid: list[Event]) -> None:
    notes = [columns.get("note", "absent") for columns in map(row, valid)]
    assert {"absent", None, 'say "happy birthday" 🎂', "first line\nsecond line\ttab"} <= set(notes)
    values = b"".join(event.value for event in valid)
    assert "🎂".encode() in values
    assert rb"\ud83c\udf82" in values


def test_event_times_run_over_three_days(valid: list[Event]) -> None:
    times = [moment(event.event_time) for event in valid if not event.late]
    assert max(times) - min(times) == pytest.approx(SPAN, abs=dt.timedelta(minutes=5))


def test_every_trouble_occurs_at_its_stage(stream: list[Event]) -> None:
    found = {(event.trouble, event.kind) for event in stream if event.trouble}
    undecodable = BROKEN_TEXT.keys() | UNDECODABLE.keys()
    assert found == {(trouble, "decode" if trouble in undecodable else "gate") for trouble in TROUBLES}


def test_broken_text_is_no_json_object(stream: list[Event]) -> None:
    for event in stream:
        if event.trouble in BROKEN_TEXT:
            try:
                assert not isinstance(json.loads(event.value.decode()), dict)
            except ValueError:
                continue


def test_poison_of_the_gate_would_win_if_it_were_let_in(stream: list[Event]) -> None:
    newest: dict[bytes | None, str] = {}
    for event in stream:
        if event.kind == "gate":
            assert row(event)["event_time"] == event.event_time
            assert event.event_time is not None
            if event.trouble != "event_before_order":
                assert event.event_time > newest.get(event.key, "")
        elif event.event_time is not None:
            newest[event.key] = max(newest.get(event.key, ""), event.event_time)


def test_headers_are_a_correlation_id_of_its_own_and_the_version(orders: Dataset, stream: list[Event]) -> None:
    headers = [dict(event.headers) for event in stream if event.kind != "duplicate"]
    assert len({header["correlation_id"] for header in headers}) == len(headers)
    assert all(
        re.fullmatch(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", header["correlation_id"]) for header in headers
    )
    assert {header["schema_version"] for header in headers} == {orders.version.encode()}


def test_live_events_happen_now_and_every_live_run_is_another(orders: Dataset) -> None:
    before = dt.datetime.now(dt.UTC)
    runs = [
        Orders(
            dataset=orders, events=500, seed=1, late=0, poison=0, start=before + dt.timedelta(seconds=run), live=True
        )
        for run in range(2)
    ]
    first = list(runs[0])
    # A state that was overtaken was reached up to five minutes ago, but not before its order, which is placed now.
    assert all(before <= moment(event.event_time) <= dt.datetime.now(dt.UTC) for event in first)
    assert runs[0].progress_group != runs[1].progress_group
    assert not {event.key for event in first} & {event.key for event in runs[1]}


@pytest.mark.parametrize("wrong", [{"events": -1}, {"late": -0.1}, {"duplicates": 0.6, "poison": 0.6}])
def test_parameters_that_make_no_sense_are_refused(orders: Dataset, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="fractions"):
        replace(Orders(dataset=orders, events=1, seed=0), **wrong)
