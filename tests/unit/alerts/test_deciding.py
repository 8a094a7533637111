"""Each fault is told once when it begins and once when it ends, whatever flaps, follows from it, or is started anew."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.alerts.alert import Condition, Id
from dagster_project.alerts.causes import EDGES, root
from dagster_project.alerts.decide import Memory
from dagster_project.alerts.kinds import KINDS, LINGER, QUIET, REPEAT
from tests.unit.alerts.platform import START, TICK, Desk, condition

SCOPES = ("", "orders", "orders/eu", "orders/eu/freshness", "orders/lag_seconds", "payments", "payments/ingest")
ids = st.builds(Id, st.sampled_from(sorted(KINDS)), st.sampled_from(SCOPES))
conditions = st.builds(
    lambda id_, severity: condition(*id_, severity=severity, summary=f"{id_} is {severity}"),
    ids,
    st.sampled_from(["warning", "critical"]),
)
# What is wrong, and for how many ticks.
stretches = st.lists(st.tuples(st.lists(conditions, max_size=4), st.integers(1, 20)), max_size=4)


@pytest.mark.parametrize("alert", sorted(KINDS))
def test_each_fault_raises_exactly_its_alert_once_and_resolves_it(alert: str) -> None:
    desk = Desk()
    desk.last(600, condition(alert, "orders"))
    desk.last(600)
    assert desk.told() == [(f"{alert} orders", "new"), (f"{alert} orders", "resolved")]
    begun, over = desk.rows
    assert begun.since == START
    assert begun.at - begun.since >= KINDS[alert].hold
    assert begun.at - begun.since < KINDS[alert].hold + TICK
    assert over.at - over.since >= dt.timedelta(seconds=600) + QUIET
    assert begun.correlation_id == over.correlation_id
    assert begun.key != over.key


def test_a_dead_broker_is_one_alert_and_not_forty() -> None:
    desk = Desk()
    effects = [
        *(condition("lag", f"dataset{number}") for number in range(20)),
        *(condition("slo-burn", f"dataset{number}/lag_seconds") for number in range(20)),
        condition("failed-run", "dataset3/ingest"),
    ]
    desk.last(60, condition("broker-down"))
    desk.last(600, condition("broker-down"), *effects)
    desk.last(300, *effects)  # the backlog is drained within the time that it may take
    desk.last(300)
    assert desk.told() == [("broker-down", "new"), ("broker-down", "resolved")]
    assert desk.rows[-1].folded == tuple(sorted(str(effect.id) for effect in effects))


def test_what_outlives_its_cause_is_raised_by_itself_and_says_after_what() -> None:
    desk = Desk()
    desk.last(120, condition("broker-down"), condition("lag", "orders"))
    desk.last(QUIET.total_seconds() + KINDS["lag"].aftermath.total_seconds() + 60, condition("lag", "orders"))
    assert desk.told() == [("broker-down", "new"), ("broker-down", "resolved"), ("lag orders", "new")]
    assert desk.rows[-1].cause == "broker-down"
    assert desk.rows[-1].since == START


def test_what_has_nothing_to_do_with_the_cause_is_raised_beside_it() -> None:
    desk = Desk()
    freshness, other = condition("slo-burn", "orders/eu/freshness"), condition("slo-burn", "orders/us/freshness")
    desk.last(300, condition("silent-region", "orders/eu"), freshness, other, condition("poison-rate", "payments"))
    assert set(desk.told()) == {
        ("silent-region orders/eu", "new"),
        ("slo-burn orders/us/freshness", "new"),
        ("poison-rate payments", "new"),
    }
    silent = next(alert for alert in desk.rows[::-1] if alert.alert == "silent-region")
    assert silent.folded == ("slo-burn orders/eu/freshness",)


def test_an_effect_that_was_there_first_stays_an_alert_of_its_own() -> None:
    desk = Desk()
    desk.last(300, condition("lag", "orders"))
    desk.last(300, condition("lag", "orders"), condition("broker-down"))
    desk.last(300)
    assert sorted(desk.told()) == [
        ("broker-down", "new"),
        ("broker-down", "resolved"),
        ("lag orders", "new"),
        ("lag orders", "resolved"),
    ]


def test_what_flaps_is_one_alert_or_none() -> None:
    desk, wrong = Desk(), condition("stale-cache")
    for _ in range(30):  # each time shorter than its hold-down
        desk.last(40, wrong)
        desk.last(20)
    assert desk.told() == []
    desk.last(120, wrong)
    for _ in range(30):
        desk.last(50)
        desk.last(20, wrong)
    desk.last(120)
    assert desk.told() == [("stale-cache", "new"), ("stale-cache", "resolved")]


def test_a_long_one_is_told_again_now_and_then_and_a_worse_one_at_once() -> None:
    desk, wrong = Desk(), condition("time-to-loss", "orders", severity="warning")
    desk.last(2.5 * REPEAT.total_seconds(), wrong)
    assert [state for _, state in desk.told()] == ["new", "firing", "firing"]
    for earlier, later in pairwise([alert for alert in desk.rows if alert.is_told]):
        assert later.at - earlier.at == REPEAT
    (worse,) = desk.look(replace(wrong, severity="critical"))
    assert (worse.state, worse.severity, worse.is_told) == ("firing", "critical", True)
    assert desk.look(wrong) == ()  # it does not become harmless before it is over


def test_what_cannot_be_looked_at_stays_as_it_is() -> None:
    desk = Desk()
    desk.last(120, condition("breaker-open", "orders/eu"))
    desk.last(3600, unknown=frozenset({"breaker-open"}))
    assert desk.told() == [("breaker-open orders/eu", "new")]
    desk.last(60)
    desk.last(10, unknown=frozenset({"breaker-open"}))  # then its end is to be seen anew
    desk.last(60)
    assert desk.told() == [("breaker-open orders/eu", "new")]
    desk.last(20)
    assert desk.told()[1:] == [("breaker-open orders/eu", "resolved")]


def test_what_cannot_be_looked_at_now_and_then_is_raised_in_time() -> None:
    desk = Desk()
    for _ in range(5):
        desk.look(condition("poison-rate", "orders"))
        desk.look(unknown=frozenset({"poison-rate"}))
    assert desk.told() == [("poison-rate orders", "new")]


def test_committed_state_says_since_when() -> None:
    since = START - dt.timedelta(hours=1)
    (begun,) = Desk().look(replace(condition("breaker-open", "orders/eu"), since=since))
    assert begun.since == since


@given(st.lists(conditions, max_size=6), st.lists(conditions, max_size=6), st.randoms())
def test_the_order_of_conditions_changes_nothing(first: list[Condition], then: list[Condition], random: Random) -> None:
    one, other = Desk(), Desk()
    for found in (first, then):
        shuffled = list(found) * 2  # seen twice is seen
        random.shuffle(shuffled)
        one.last(130, *found)
        other.last(130, *shuffled)
    assert one.rows == other.rows


@given(stretches, st.integers(0, 100))
def test_a_restart_loses_and_doubles_nothing(course: list[tuple[list[Condition], int]], lost_at: int) -> None:
    """A desk that forgets its memory tells the same alerts, if later, but for those that end before they are due again."""
    desk, ticks = Desk(), 0
    open_: set[Id] = set()
    for wrong, length in [*course, ([], 30)]:
        for _ in range(length):
            if ticks == lost_at:
                desk.memory = Memory()
            ticks += 1
            for alert in desk.look(*wrong):
                assert (alert.state == "new") == (alert.id not in open_), "begun twice, or gone on without a beginning"
                open_ ^= {alert.id} if alert.state != "firing" else set()
    assert open_ == set(), "never resolved"


@given(stretches)
def test_nothing_lasts_unsaid(course: list[tuple[list[Condition], int]]) -> None:
    """What is wrong for long enough is open, or folded into what is wrong too, or was until lately."""
    desk = Desk()
    for wrong, length in course:
        desk.last(length * TICK.total_seconds(), *wrong)
        if length * TICK >= max(kind.hold for kind in KINDS.values()) + TICK:
            raised = {alert.id for alert in desk.known.values() if alert.is_open}
            lately = {alert.id for alert in desk.known.values() if desk.now - alert.at < LINGER + TICK}
            for found in wrong:
                others = (raised | lately) - {found.id}
                assert found.id in raised or root(found.id, others) != found.id


def test_causes_are_seen_before_their_effects_are_due() -> None:
    order = list(KINDS)
    for edge in EDGES:
        assert KINDS[edge.effect].hold >= max(KINDS[edge.cause].hold, 3 * TICK), edge
        assert order.index(edge.cause) < order.index(edge.effect), edge  # so there is no circle


def test_the_cause_graph_reaches_the_first_cause() -> None:
    lag, burn = Id("lag", "orders"), Id("slo-burn", "orders/lag_seconds")
    active = {lag, burn, Id("failed-run", "orders/ingest"), Id("broker-down", ""), Id("lag", "payments")}
    assert root(burn, active) == Id("broker-down", "")
    assert root(burn, active - {Id("broker-down", "")}) == Id("failed-run", "orders/ingest")
    assert root(burn, {burn, Id("lag", "payments")}) == burn
    held = Id("breaker-open", "orders/eu")
    for scope in ("orders/completeness", "orders/latency_p95", "orders/eu/freshness"):
        assert root(Id("slo-burn", scope), {held}) == held
    for scope in ("orders/us/freshness", "payments/completeness", "orders/lag_seconds"):
        assert root(Id("slo-burn", scope), {held}) != held
    assert root(Id("lag", "orders"), {Id("failed-run", "payments/ingest")}) == Id("lag", "orders")
