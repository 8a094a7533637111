"""Which engine works: prices worked out by hand from the YAML, and what must hold of any size and cadence."""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dagster_project.cost.demand import Demand
from dagster_project.cost.prices import BOOK, load_prices
from dagster_project.cost.router import Cadence, Engine, Machine, Route, Size, Wanted, route, wanted
from dagster_project.cost.routing import Asked, routed
from dagster_project.errors import ConfigurationError

PRICES = load_prices()
BOOKED: dict[str, Any] = yaml.safe_load(BOOK.read_text("utf-8"))
GIB = 2**30
LAPTOP = Machine(cores=2, memory_bytes=24 * GIB)
NONE = Machine(cores=0, memory_bytes=0)
BUSY = 0.7
ORDER = {"local": 0, "glue": 1, "emr": 2}
engines = st.sampled_from([None, "local", "glue", "emr"])
rates = st.floats(0.001, 1000)  # cores, while at work
hours_of_a_day = st.floats(0.01, 24)
starts = st.floats(0, 1440)
times = st.floats(1, 30)


def sized(core_seconds: float, spark_times: float | None = 7.0, largest: float = 0) -> Size:
    return Size(core_seconds=core_seconds, spark_times=spark_times, largest_bytes=largest)


def at(
    rate: float, hours: float, *, often: float, spark: float, machine: Machine = NONE, before: Engine | None = None
) -> Route:
    """So many cores' worth of work in-process, for so many hours a day."""
    cadence = Cadence(window=24, hours=hours, starts=often)
    return route(sized(rate * hours * 3600, spark), cadence, PRICES, machine=machine, before=before)


def test_in_process_as_long_as_it_keeps_up_and_fits() -> None:
    day = Cadence(window=24, hours=5, starts=1)
    most = 2 * BUSY * 24 * 3600
    assert route(sized(most * 0.999), day, PRICES, machine=LAPTOP).engine == "local"
    assert route(sized(most * 1.001), day, PRICES, machine=LAPTOP).engine == "emr"
    # A night's batch has an hour, and no day.
    hour = Cadence(window=1, hours=1, starts=1)
    assert route(sized(most / 24 * 1.001), hour, PRICES, machine=LAPTOP).engine == "glue"
    # Others of the same machine take what is theirs.
    assert route(sized(most * 0.999), day, PRICES, machine=replace(LAPTOP, busy=0.1)).engine == "emr"
    # At its peak a stream must keep up as well.
    assert route(sized(most / 3 * 1.001), replace(day, peak=3), PRICES, machine=LAPTOP).engine == "emr"
    fits = 24 * GIB * 0.4 / 8
    assert route(sized(1, largest=fits * 0.999), day, PRICES, machine=LAPTOP).engine == "local"
    assert route(sized(1, largest=fits * 1.001), day, PRICES, machine=LAPTOP).engine != "local"


def by_hand(core_seconds: float, spark: float, hours: float, often: float, peak: float) -> dict[str, float]:
    """Dollars a day, from the YAML alone; as docs/cost.md says it."""
    emr = BOOKED["emr"]
    mean = core_seconds * spark / (hours * 3600) / BUSY
    node, reserved = emr["node_hour"] + emr["service_hour"], emr["node_hour"] * 0.63 + emr["service_hour"]
    made = (math.ceil(mean / 4) + 1) * node * (hours + often * 10 / 60)
    standing = (math.ceil(mean * peak / 4) + 1) * 24
    return {
        "local": core_seconds / 3600 / BUSY * BOOKED["vm"]["vcpu_hour"],
        "glue": max(2, math.ceil(mean / 4)) * 0.44 * hours,
        "emr": min(made, standing * node, standing * reserved),
    }


@given(rates, hours_of_a_day, starts, times, st.floats(1, 10))
def test_each_candidate_costs_what_the_yaml_says(
    rate: float, hours: float, often: float, spark: float, peak: float
) -> None:
    size = sized(rate * hours * 3600, spark)
    found = route(size, Cadence(window=24, hours=hours, starts=often, peak=peak), PRICES, machine=LAPTOP)
    assert found.usd_per_day == pytest.approx(by_hand(size.core_seconds, spark, hours, often, peak))


@given(rates, hours_of_a_day, starts, times, engines)
def test_bursts_go_to_glue_and_sustained_work_to_emr(
    rate: float, hours: float, often: float, spark: float, before: Engine | None
) -> None:
    found = at(rate, hours, often=often, spark=spark, before=before).engine
    assert found != "local"
    if hours < 2:
        assert found == "glue"
    if hours >= 8:
        assert found == "emr"


@given(rates, hours_of_a_day, starts, times)
def test_between_them_the_price_decides(rate: float, hours: float, often: float, spark: float) -> None:
    found = at(rate, hours, often=often, spark=spark)
    if 2 <= hours < 8:
        usd = by_hand(rate * hours * 3600, spark, hours, often, 1)
        chosen, other = ("glue", "emr") if found.engine == "glue" else ("emr", "glue")
        assert usd[chosen] <= usd[other] * (1 + 1e-9)


@given(rates, hours_of_a_day, hours_of_a_day, starts, times, engines, st.sampled_from([NONE, LAPTOP]))
def test_more_hours_at_the_same_rate_never_lead_back(
    rate: float, one: float, other: float, often: float, spark: float, before: Engine | None, machine: Machine
) -> None:
    """From in-process to Glue to EMR, and never from EMR to Glue or from Spark to in-process."""
    less, more = sorted((one, other))
    few = at(rate, less, often=often, spark=spark, machine=machine, before=before).engine
    many = at(rate, more, often=often, spark=spark, machine=machine, before=before).engine
    assert ORDER[few] <= ORDER[many]


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e12), st.floats(0, 1e12), hours_of_a_day, engines)
def test_more_to_do_never_leads_back_in_process(
    one: float, other: float, small: float, large: float, hours: float, before: Engine | None
) -> None:
    cadence = Cadence(window=24, hours=hours)
    less = route(sized(min(one, other), 7, min(small, large)), cadence, PRICES, machine=LAPTOP, before=before).engine
    more = route(sized(max(one, other), 7, max(small, large)), cadence, PRICES, machine=LAPTOP, before=before).engine
    assert less == "local" or more != "local"


@given(rates, hours_of_a_day, starts, times, engines, st.sampled_from([NONE, LAPTOP]))
def test_who_was_chosen_stays_chosen(
    rate: float, hours: float, often: float, spark: float, before: Engine | None, machine: Machine
) -> None:
    chosen = at(rate, hours, often=often, spark=spark, machine=machine, before=before).engine
    assert at(rate, hours, often=often, spark=spark, machine=machine, before=chosen).engine == chosen


wobbles = st.lists(st.floats(0.95, 1.05), min_size=2, max_size=20)


@given(rates, hours_of_a_day, starts, times, wobbles, st.sampled_from([NONE, LAPTOP]))
def test_hours_that_waver_by_a_twentieth_do_not_make_it_flap(
    rate: float, hours: float, often: float, spark: float, by: list[float], machine: Machine
) -> None:
    assert (
        changes(
            lambda factor, before: at(rate, hours * factor, often=often, spark=spark, machine=machine, before=before),
            by,
        )
        <= 1
    )


@given(rates, hours_of_a_day, starts, times, wobbles, st.sampled_from([NONE, LAPTOP]))
def test_sizes_that_waver_by_a_twentieth_do_not_make_it_flap(
    rate: float, hours: float, often: float, spark: float, by: list[float], machine: Machine
) -> None:
    assert (
        changes(
            lambda factor, before: at(rate * factor, hours, often=often, spark=spark, machine=machine, before=before),
            by,
        )
        <= 1
    )


def changes(decide: Any, by: list[float]) -> int:
    found: list[Engine | None] = [None]
    for factor in by:
        found.append(decide(factor, found[-1]).engine)
    return sum(one != other for one, other in itertools.pairwise(found[1:]))


def test_without_hysteresis_it_would_flap() -> None:
    """The same wavering, forgotten each time: what the margins are for."""
    seen = {at(1.4 * factor, 24, often=1, spark=7, machine=LAPTOP).engine for factor in (0.99, 1.01)}
    assert seen == {"local", "emr"}
    assert {at(1.4 * factor, 24, often=1, spark=7, machine=LAPTOP, before="emr").engine for factor in (0.99, 1.01)} == {
        "emr"
    }
    assert at(1.4 * 0.79, 24, often=1, spark=7, machine=LAPTOP, before="emr").engine == "local"


@pytest.mark.parametrize("asked", ["local", "glue", "emr"])
def test_what_somebody_asks_for_is_done(asked: Wanted) -> None:
    found = route(sized(10), Cadence(), PRICES, asked, machine=LAPTOP, by="LAKEHOUSE_ENGINE")
    assert found.engine == asked
    if asked != "local":
        assert "as LAKEHOUSE_ENGINE says; by itself it would be in-process: 10 core-seconds" in found.why


def test_spark_is_whichever_of_the_two_suits() -> None:
    cadence = Cadence(window=1, hours=0.5, starts=1)
    assert route(sized(10), cadence, PRICES, "spark", machine=LAPTOP).engine == "glue"
    assert route(sized(10), replace(cadence, hours=9), PRICES, "spark", machine=LAPTOP).engine == "emr"
    assert route(sized(10), cadence, PRICES, "auto", machine=LAPTOP).engine == "local"


@given(st.floats(1, 1e9), st.floats(0, 1e12), hours_of_a_day, st.one_of(st.none(), times), engines)
def test_the_reason_has_its_figures(
    core_seconds: float, largest: float, hours: float, spark: float | None, before: Engine | None
) -> None:
    size, cadence = sized(core_seconds, spark, largest), Cadence(window=12, hours=hours, starts=3, peak=1.5)
    found = route(size, cadence, PRICES, machine=LAPTOP, before=before)
    assert f"{core_seconds:,.0f} core-seconds a day" in found.why
    assert "1.4 free cores do in 12.0 h" in found.why
    assert "1.5 times the mean at its peak" in found.why
    for usd in found.usd_per_day.values():
        assert usd is None or f"{usd:,.2f}" in found.why
    if found.engine != "local":
        assert f"on Spark {hours:.1f} h a day in 3 jobs" in found.why
        share = max(found.time_share, found.memory_share)
        bound = re.search(r"does not keep up|has not the memory|comes back below 80%", found.why)
        assert bound is not None
        assert share > (0.8 if "80%" in bound[0] else 1)
    if spark is None:
        assert "nobody knows" in found.why


def test_how_much_more_there_could_be_is_said() -> None:
    day = Cadence(window=24, hours=5, starts=1)
    found = route(sized(1000), day, PRICES, machine=LAPTOP)
    edge = 1000 * found.grows
    assert route(sized(edge * 0.999), day, PRICES, machine=LAPTOP).engine == "local"
    assert route(sized(edge * 1.001), day, PRICES, machine=LAPTOP).engine == "emr"
    assert route(sized(0), day, PRICES, machine=LAPTOP).grows == math.inf


def test_where_glue_and_emr_cost_the_same_is_said() -> None:
    # Forty cores, ten DPUs: 4.40 USD an hour beside eleven nodes, 2.64 and 0.44 for their start.
    rate = 40 * BUSY / 7
    found = at(rate, 1, often=1, spark=7)
    assert found.even_h == pytest.approx(0.44 / 1.76)
    assert found.even_h is not None
    same = by_hand(rate * found.even_h * 3600, 7, found.even_h, 1, 1)
    assert same["glue"] == pytest.approx(same["emr"])


def test_an_own_price_book_can_make_the_machine_the_dear_one() -> None:
    dear = replace(PRICES, vm=replace(PRICES.vm, vcpu_hour=10.0))
    found = route(sized(30_000), Cadence(window=24, hours=9), dear, machine=LAPTOP)
    assert (found.engine, "in-process could, and costs more" in found.why) == ("emr", True)


def demand(name: str, core_seconds: float) -> Demand:
    return Demand(
        name=name,
        kind="dataset",
        events=1,
        backlog=0,
        core_us=1,
        measured=1,
        size=sized(core_seconds),
        cadence=Cadence(),
        before=None,
    )


def test_a_machine_is_filled_with_the_smallest_first() -> None:
    most = 2 * BUSY * 24 * 3600
    wanted_here = [demand("large", most * 0.7), demand("small", most * 0.2), demand("middle", most * 0.3)]
    found = {one.demand.name: one.route.engine for one in routed(wanted_here, PRICES, machine=LAPTOP, asked={})}
    assert found == {"small": "local", "middle": "local", "large": "emr"}
    asked = {"middle": Asked(engine="emr", by="the contract")}
    freed = {one.demand.name: one.route.engine for one in routed(wanted_here, PRICES, machine=LAPTOP, asked=asked)}
    assert freed == {"small": "local", "middle": "emr", "large": "local"}


def test_an_engine_that_there_is_not_is_refused() -> None:
    assert wanted("spark", by="--engine") == "spark"
    with pytest.raises(ConfigurationError, match=r"(?s)--engine: engine 'flink'.*one of auto, local, spark, glue, emr"):
        wanted("flink", by="--engine")
