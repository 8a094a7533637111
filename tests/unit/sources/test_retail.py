"""The retail world: the same every time, the same facts whatever befalls them, and in it the trouble that it promises."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from dagster_project.contract.model import Dataset
from dagster_project.errors import ConfigurationError
from dagster_project.sources.events import Event
from dagster_project.sources.retail.streams import STREAMS, Retail
from dagster_project.sources.retail.transport import NEAR, OVERTAKEN_BY, Transport
from dagster_project.sources.retail.visits import BOT, DEAD
from dagster_project.sources.retail.world import CUT_OFF, SILENT, SILENT_FROM, World

ORDERS = 250
WORLD = World(orders=ORDERS, seed=7, refunds=0.1, chargebacks=0.05)
CLEAN = Transport(order="time", duplicates=0, late=0, poison=0)
ROUGH = Transport(duplicates=0.1, late=0.05, poison=0.05)
# When those of the region that is cut off are heard again.
CUT_BEGIN = WORLD.moment(0.4)
CUT_END = CUT_BEGIN + dt.timedelta(hours=6)
STREAM = pytest.mark.parametrize("name", STREAMS)


@pytest.fixture(scope="module")
def clean(datasets: dict[str, Dataset]) -> dict[str, list[Event]]:
    """The facts as they happen."""
    return {name: list(Retail(dataset=datasets[name], world=WORLD, transport=CLEAN)) for name in STREAMS}


@pytest.fixture(scope="module")
def rough(datasets: dict[str, Dataset]) -> dict[str, list[Event]]:
    """The facts as they arrive, with all there is of trouble."""
    return {name: list(Retail(dataset=datasets[name], world=WORLD, transport=ROUGH)) for name in STREAMS}


def row(event: Event) -> dict[str, Any]:
    return json.loads(event.value, parse_float=Decimal)


def moment(event: Event) -> dt.datetime:
    assert event.event_time is not None
    return dt.datetime.fromisoformat(event.event_time)


def facts(events: list[Event]) -> Counter[tuple[object, ...]]:
    return Counter((event.key, event.value, event.event_time) for event in events if event.kind in ("valid", "delete"))


def known(events: list[Event]) -> list[Event]:
    return [event for event in events if event.kind in ("valid", "delete")]


def is_cut_off(event: Event) -> bool:
    return row(event)["region"] == CUT_OFF and CUT_BEGIN <= moment(event) < CUT_END


def by_key(events: list[Event], column: str) -> dict[str, list[dict[str, Any]]]:
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        found[row(event)[column]].append(row(event))
    return found


@STREAM
def test_the_same_parameters_give_the_same_events_to_the_byte(
    datasets: dict[str, Dataset], rough: dict[str, list[Event]], name: str
) -> None:
    again = Retail(dataset=datasets[name], world=WORLD, transport=ROUGH)
    assert list(again) == rough[name]
    assert len(again) == len(rough[name])


@STREAM
@pytest.mark.parametrize("order", ["near", "whole"])
def test_facts_are_the_same_whatever_befalls_them(
    datasets: dict[str, Dataset], clean: dict[str, list[Event]], rough: dict[str, list[Event]], name: str, order: str
) -> None:
    shuffled = list(Retail(dataset=datasets[name], world=WORLD, transport=replace(ROUGH, order=order)))
    assert facts(shuffled) == facts(rough[name]) == facts(clean[name])
    assert [event.key for event in shuffled] != [event.key for event in rough[name]]


@pytest.mark.parametrize("other", [{"seed": 8}, {"orders": ORDERS + 1}, {"refunds": 0.2}])
def test_other_worlds_have_other_orders_and_views(
    datasets: dict[str, Dataset], clean: dict[str, list[Event]], other: dict[str, Any]
) -> None:
    world = replace(WORLD, **other)
    for name in ("orders", "payments", "page_views"):
        elsewhere = Retail(dataset=datasets[name], world=world, transport=CLEAN)
        assert not {event.key for event in elsewhere} & {event.key for event in clean[name]}


@STREAM
def test_there_is_as_much_trouble_as_asked_for(
    clean: dict[str, list[Event]], rough: dict[str, list[Event]], name: str
) -> None:
    kinds, count = Counter(event.kind for event in rough[name]), len(clean[name])
    assert kinds["duplicate"] == int(0.1 * count)
    assert kinds["decode"] + kinds["gate"] == int(0.05 * count)
    assert {(event.kind, event.late) for event in clean[name]} <= {("valid", False), ("delete", False)}
    times = [moment(event) for event in clean[name]]
    assert times == sorted(times)


def test_late_facts_are_late(datasets: dict[str, Dataset]) -> None:
    late = replace(CLEAN, late=0.05)
    views = list(Retail(dataset=datasets["page_views"], world=WORLD, transport=late))
    assert sum(event.late for event in views) == pytest.approx(0.05 * len(views), abs=5 * (0.05 * len(views)) ** 0.5)


def test_a_shuffle_among_neighbours_stays_near(datasets: dict[str, Dataset], clean: dict[str, list[Event]]) -> None:
    near = Retail(dataset=datasets["page_views"], world=WORLD, transport=replace(CLEAN, order="near"))
    times = sorted(moment(event) for event in clean["page_views"])
    # Nobody comes earlier than the neighbours allow, those who are cut off, and whoever is overtaken for some minutes.
    reach = NEAR + sum(map(is_cut_off, clean["page_views"]))
    for place, event in enumerate(near):
        assert moment(event) <= times[min(place + reach, len(times) - 1)] + OVERTAKEN_BY


def test_an_order_goes_forward_and_its_payment_follows_it(clean: dict[str, list[Event]]) -> None:
    orders = by_key(clean["orders"], "order_id")
    assert len(orders) == ORDERS
    steps = {(before["status"], after["status"]) for states in orders.values() for before, after in pairwise(states)}
    assert steps == {("created", "paid"), ("created", "cancelled"), ("paid", "shipped"), ("paid", "cancelled")}
    captured: dict[str, str] = {}
    for events in by_key(clean["payments"], "payment_id").values():
        capture, *others = events
        assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
        assert (capture["kind"], capture["payment_at"]) == ("capture", capture["event_time"])
        assert {event["kind"] for event in others} <= {"refund", "chargeback"}
        assert {event["payment_at"] for event in others} <= {capture["payment_at"]}
        taken_back = sum((Decimal(event["amount"]) for event in others), Decimal(0))
        assert taken_back <= Decimal(capture["amount"])
        assert all(Decimal(event["amount"]) > 0 for event in others)
        states = orders[capture["order_id"]]
        paid = next(state for state in states if state["status"] == "paid")
        assert (paid["amount"], paid["currency"]) == (capture["amount"], capture["currency"])
        assert dt.datetime.fromisoformat(paid["event_time"]) == dt.datetime.fromisoformat(capture["event_time"])
        if states[-1]["status"] == "cancelled":
            assert taken_back == capture["amount"]
        captured[capture["order_id"]] = capture["payment_id"]
    assert captured.keys() == {
        order_id for order_id, states in orders.items() if "paid" in {state["status"] for state in states}
    }


def test_as_many_payments_are_taken_back_as_asked_for(clean: dict[str, list[Event]]) -> None:
    kinds = [{event["kind"] for event in events} for events in by_key(clean["payments"], "payment_id").values()]
    refunded, charged_back = sum("refund" in kind for kind in kinds), sum("chargeback" in kind for kind in kinds)
    # Five standard deviations.
    assert refunded == pytest.approx(0.1 * len(kinds), abs=5 * (0.1 * len(kinds)) ** 0.5)
    assert charged_back == pytest.approx(0.05 * len(kinds), abs=5 * (0.05 * len(kinds)) ** 0.5)
    assert charged_back


def test_customers_come_change_go_and_come_back(clean: dict[str, list[Event]]) -> None:
    histories: defaultdict[bytes | None, list[Event]] = defaultdict(list)
    for event in clean["customers"]:
        histories[event.key].append(event)
    turns: Counter[tuple[str, str]] = Counter()
    for events in histories.values():
        times = [moment(event) for event in events]
        assert len(set(times)) == len(times)
        assert events[0].kind == "valid"
        turns.update((before.kind, after.kind) for before, after in pairwise(events))
    assert turns["valid", "valid"]
    assert turns["valid", "delete"]
    assert turns["delete", "valid"]
    assert not turns["delete", "delete"]
    for event in clean["customers"]:
        assert (event.kind == "delete") == event.deletes == (event.value == b"")
        if event.kind == "delete":
            assert event.sent_at == moment(event).timestamp() * 1000


def test_who_orders_is_a_customer_by_then(clean: dict[str, list[Event]]) -> None:
    since = {customer.customer_id: customer.since for customer in WORLD.customers}
    for order in map(row, clean["orders"]):
        assert since[order["customer_id"]] <= dt.datetime.fromisoformat(order["ordered_at"])


def test_there_are_ten_views_for_an_event_of_the_orders_and_one_bot_has_a_third_of_them(
    clean: dict[str, list[Event]],
) -> None:
    views = [row(event) for event in clean["page_views"]]
    assert 9 < len(views) / len(clean["orders"]) < 11
    assert sum(view["visitor_id"] == BOT for view in views) == round(0.3 * len(views))
    assert {view["page"] for view in views} == {"home", "search", "product", "cart", "checkout"}
    assert len({(view["visitor_id"], view["event_time"]) for view in views}) == len(views)


def test_some_visits_pause_and_some_go_on_past_midnight(clean: dict[str, list[Event]]) -> None:
    visitors: defaultdict[str, list[dt.datetime]] = defaultdict(list)
    for event in clean["page_views"]:
        if (visitor := row(event)["visitor_id"]) != BOT:
            visitors[visitor].append(moment(event))
    gaps = [(before, after) for times in visitors.values() for before, after in pairwise(times)]
    gap = dt.timedelta(minutes=30)
    assert any(after - before < gap and after.date() > before.date() for before, after in gaps)
    assert any(gap < after - before < 4 * gap for before, after in gaps)


@STREAM
def test_a_region_falls_silent(clean: dict[str, list[Event]], name: str) -> None:
    silent = [event for event in clean[name] if not event.deletes and row(event)["region"] == SILENT]
    assert max(map(moment, silent)) <= WORLD.moment(SILENT_FROM) + dt.timedelta(milliseconds=2)


def test_a_region_that_was_cut_off_sends_all_it_held_back(datasets: dict[str, Dataset]) -> None:
    transport = Transport(duplicates=0, late=0, poison=0)
    events = list(Retail(dataset=datasets["page_views"], world=WORLD, transport=transport))
    held = {place for place, event in enumerate(events) if is_cut_off(event)}
    before = {place for place, event in enumerate(events) if moment(event) < CUT_END - OVERTAKEN_BY} - held
    assert held
    assert max(place for place in before if row(events[place])["visitor_id"] != DEAD) < min(held)


def test_a_dead_device_sends_its_last_week_at_the_end(rough: dict[str, list[Event]]) -> None:
    views = known(rough["page_views"])
    dead = [place for place, event in enumerate(views) if row(event)["visitor_id"] == DEAD]
    last_week = {place for place in dead if moment(views[place]) >= WORLD.end - dt.timedelta(days=7)}
    assert 1 < len(last_week) < len(dead)
    # Only what is even later comes among or after them.
    assert min(last_week) > len(views) - len(last_week) - 50
    assert all(views[place].late for place in sorted(last_week)[:-1])


@pytest.mark.parametrize(
    ("region", "day", "offsets"),
    [
        ("us", "2026-03-08", {"-05:00", "-04:00"}),
        ("eu", "2026-03-29", {"+01:00", "+02:00"}),
        ("apac", "2026-03-29", {"+09:00"}),
    ],
)
def test_some_write_local_time_on_both_sides_of_a_change(
    datasets: dict[str, Dataset], region: str, day: str, offsets: set[str]
) -> None:
    start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    source = Retail(dataset=datasets["page_views"], world=replace(WORLD, start=start, days=1), transport=CLEAN)
    local = [event for event in source if row(event)["region"] == region and not row(event)["event_time"].endswith("Z")]
    assert {row(event)["event_time"][-6:] for event in local} == offsets
    assert len(local) < len(source) / 5


def test_what_is_live_comes_when_it_happens(datasets: dict[str, Dataset]) -> None:
    second = dt.timedelta(seconds=1) / dt.timedelta(days=1)
    world = World(orders=5, seed=1, days=second, start=dt.datetime.now(dt.UTC), live=True)

    def told() -> Iterator[tuple[dt.datetime, Event]]:
        for event in Retail(dataset=datasets["orders"], world=world, transport=CLEAN):
            yield dt.datetime.now(dt.UTC), event

    assert all(moment(event) <= now for now, event in told())


@pytest.mark.parametrize("bad", [{"orders": 0}, {"days": 0}, {"refunds": -0.1}, {"refunds": 0.6, "chargebacks": 0.6}])
def test_impossible_worlds_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="orders in"):
        replace(WORLD, **bad)


@pytest.mark.parametrize("bad", [{"late": -0.1}, {"poison": 1.1}])
def test_impossible_shares_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="the shares"):
        replace(CLEAN, **bad)
