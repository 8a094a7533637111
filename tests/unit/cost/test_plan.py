"""Plans: what deployments cost, held against prices worked out by hand from the YAML, and what must hold of any workload."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.cli.output import console
from dagster_project.cost.deployments import Compute, Workload, computes
from dagster_project.cost.plan import BreakEven, Plan, break_even, plan
from dagster_project.cost.prices import BOOK, load_prices
from dagster_project.cost.recorder import Spending, record
from dagster_project.cost.report import report
from dagster_project.cost.throughput import Throughput, of_benchmark, of_lake
from dagster_project.errors import ConfigurationError
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage
from dagster_project.settings import REPOSITORY
from tests.unit.cost.test_report import ALWAYS

PRICES = load_prices()
BOOKED: dict[str, Any] = yaml.safe_load(BOOK.read_text("utf-8"))
MEASURED = Throughput(
    source="a test",
    events_per_core_s=80_000,
    spark_events_per_core_s=10_000,
    stored_bytes=130,
    puts=1e-5,
    gets=4e-5,
)
BUSY = 0.7
workloads = st.builds(
    Workload,
    events_per_day=st.floats(1, 1e11),
    bytes_per_event=st.floats(1, 1e5),
    hours_per_day=st.floats(0.05, 24),
    peak_factor=st.floats(1, 20),
    retention_days=st.floats(0, 400),
)


def by_hand(workload: Workload, compute: str, stream: str) -> float:
    """Dollars a day, from the YAML alone; as docs/cost.md says it."""
    events, hours = workload.events_per_day, workload.hours_per_day
    rate = events / (hours * 3600)
    vm, fargate, emr = (BOOKED[name] for name in ("vm", "fargate", "emr"))
    cores, spark_cores = rate / 80_000 / BUSY, rate / 10_000 / BUSY
    dagster = (fargate["vcpu_hour"] + 2 * fargate["gb_hour"]) * hours
    node = emr["node_hour"] + emr["service_hour"]
    standing = math.ceil(spark_cores * workload.peak_factor / 4) + 1
    scaled = math.ceil(spark_cores / 4) + 1
    if compute.startswith("one VM"):
        size = min(size for size in vm["vcpus"] if size >= cores * workload.peak_factor + 1)
        paid = 24 * vm["reserved_share"] if "reserved" in compute else hours
        machine = size * vm["vcpu_hour"] * paid
    elif compute == "ECS on Fargate":
        machine = math.ceil(cores) * hours * (fargate["vcpu_hour"] + 4 * fargate["gb_hour"]) + dagster
    elif compute == "Glue":
        machine = max(2, math.ceil(spark_cores / 4)) * 0.44 * hours + dagster
    elif compute == "EMR, made for each burst":
        machine = scaled * node * (hours + 10 / 60) + dagster
    elif compute == "EMR, standing":
        machine = standing * node * 24 + dagster
    else:
        machine = standing * (emr["node_hour"] * vm["reserved_share"] + emr["service_hour"]) * 24 + dagster
    peak, mb_s = rate * workload.peak_factor, rate * workload.peak_factor * workload.bytes_per_event / 1e6
    if stream == "MSK":
        brokers = 3 * max(1, math.ceil(mb_s / 4.8 / 3))
        paid = brokers * 0.21 * 24 + events * workload.bytes_per_event * 7 * 3 / 2**30 * 0.1 * 12 / 365
    else:
        shards = max(1, math.ceil(mb_s), math.ceil(peak / 1000))
        paid = shards * 0.035 * 24 + events * max(1, math.ceil(workload.bytes_per_event / 25_000)) * 0.014 / 1e6
    kept = events * workload.retention_days * 130 / 2**30 * 0.023 * 12 / 365
    requests = events * (1e-5 * 0.005 + 4e-5 * 0.0004) / 1000
    return machine + paid + kept + requests


def of(found: Plan) -> dict[tuple[str, str], float]:
    return {(one.compute, one.stream): one.usd_per_day for one in found.deployments}


@given(workloads)
def test_each_deployment_costs_what_the_yaml_says(workload: Workload) -> None:
    found = of(plan(workload, MEASURED, PRICES))
    fits = workload.events_per_s / 80_000 / BUSY * workload.peak_factor + 1 <= max(BOOKED["vm"]["vcpus"])
    assert len(found) == (14 if fits else 10)
    for (compute, stream), usd in found.items():
        assert usd == pytest.approx(by_hand(workload, compute, stream), rel=1e-9), (compute, stream)


@given(workloads, st.floats(1, 1000))
def test_more_events_never_cost_less(workload: Workload, times: float) -> None:
    few = of(plan(workload, MEASURED, PRICES))
    many = of(plan(replace(workload, events_per_day=workload.events_per_day * times), MEASURED, PRICES))
    assert many.keys() <= few.keys()
    assert all(usd >= few[name] * (1 - 1e-12) for name, usd in many.items())


@given(workloads)
def test_the_recommended_one_is_the_cheapest_that_runs_here(workload: Workload) -> None:
    found = plan(workload, MEASURED, PRICES)
    prices = [one.usd_per_day for one in found.deployments]
    assert prices == sorted(prices)
    here = [one for one in found.deployments if one.stream == "MSK" and one.compute in OWN]
    assert found.recommended in here
    assert found.recommended.usd_per_day == min(one.usd_per_day for one in here)
    assert all(
        one.usd_per_day == pytest.approx(one.machine + one.stream_usd + one.store)
        and one.usd_per_million == pytest.approx(one.usd_per_day / workload.events_per_day * 1e6)
        for one in found.deployments
    )


OWN = ("one VM", "one VM, reserved", "ECS on Fargate")


@given(workloads)
def test_at_a_break_even_both_cost_the_same(workload: Workload) -> None:
    """A day as long as the break-even says, with the same events a second, is planned anew and priced by hand."""
    found = plan(workload, MEASURED, PRICES)
    pairs = {point.pair for point in found.break_evens}
    assert all((one in OWN) == (other in OWN) for one, other in pairs)
    for point in found.break_evens:
        if point.hours is None:
            other = next(name for name in point.pair if name != point.below)
            for hours in (0.01, 24):
                assert at(workload, point.below, hours) <= at(workload, other, hours) * (1 + 1e-9)
            continue
        assert 0 < point.hours <= 24
        first, second = (at(workload, name, point.hours) for name in point.pair)
        assert first == pytest.approx(second, rel=1e-6)
        assert point.usd_per_day == pytest.approx(first - streams_and_store(workload, point.hours), rel=1e-6, abs=1e-9)
        shorter, longer = point.hours * 0.5, (point.hours + 24) / 2
        assert at(workload, point.below, shorter) < at(workload, point.above, shorter)
        assert at(workload, point.above, longer) <= at(workload, point.below, longer) * (1 + 1e-9)


def at(workload: Workload, compute: str, hours: float) -> float:
    """What a day of so many hours costs at the workload's rate."""
    # A hair fewer events: what the division gives back must not make one core more of a rounding error.
    events = workload.events_per_s * 3600 * hours * (1 - 1e-12)
    return by_hand(replace(workload, events_per_day=events, hours_per_day=hours), compute, "MSK")


def streams_and_store(workload: Workload, hours: float) -> float:
    whole = at(workload, "EMR, standing", hours)
    rate = workload.events_per_s
    emr, fargate = BOOKED["emr"], BOOKED["fargate"]
    nodes = math.ceil(rate * (1 - 1e-12) / 10_000 / BUSY * workload.peak_factor / 4) + 1
    dagster = (fargate["vcpu_hour"] + 2 * fargate["gb_hour"]) * hours
    return whole - nodes * (emr["node_hour"] + emr["service_hour"]) * 24 - dagster


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_lines_cross_where_they_do(fixed: float, hourly: float, other_fixed: float, other_hourly: float) -> None:
    first = Compute(name="a", engine="platform", vcpus=1, fixed=fixed, hourly=hourly)
    second = Compute(name="b", engine="platform", vcpus=1, fixed=other_fixed, hourly=other_hourly)
    point = break_even(first, second)
    if point.hours is not None:
        assert 0 <= point.hours <= 24 * (1 + 1e-9)
        assert fixed + hourly * point.hours == pytest.approx(
            other_fixed + other_hourly * point.hours, rel=1e-6, abs=1e-6
        )
        assert {point.below, point.above} == {"a", "b"}
        return
    cheaper, dearer = (first, second) if point.below == "a" else (second, first)
    assert all(cheaper.usd_per_day(hours) <= dearer.usd_per_day(hours) * (1 + 1e-9) for hours in (0, 0.5, 8, 16, 24))


def crossing(found: Plan, one: str, other: str) -> BreakEven:
    return next(point for point in found.break_evens if set(point.pair) == {one, other})


def test_glue_for_bursts_and_emr_for_long_days_as_the_rule_of_thumb_has_it() -> None:
    """At ten DPUs' worth of work: a reserved cluster beats Glue from about eight hours on, one made anew much earlier."""
    ten_dpus = 10 * 4 * 10_000 * BUSY
    found = plan(
        Workload(events_per_day=ten_dpus * 3600, bytes_per_event=500, hours_per_day=1, peak_factor=1), MEASURED, PRICES
    )
    # 40 vCPUs are 10 DPUs at 0.44, or 10 nodes and a primary one at 0.24 USD; 24 × 11 × 0.24 ÷ 4.40 = 14.4 h.
    standing = crossing(found, "Glue", "EMR, standing")
    assert (standing.below, standing.hours) == ("Glue", pytest.approx(14.4))
    reserved = crossing(found, "Glue", "EMR, standing and reserved")
    assert reserved.hours == pytest.approx(24 * 11 * (0.192 * 0.63 + 0.048) / 4.40)
    # Made anew: 11 × 0.24 × 1/6 h for its start, and 1.76 USD an hour less.
    burst = crossing(found, "Glue", "EMR, made for each burst")
    assert (burst.below, burst.hours) == ("Glue", pytest.approx(0.44 / 1.76))


def test_reserved_pays_from_so_many_hours_on() -> None:
    found = plan(Workload(events_per_day=1e9, bytes_per_event=500), MEASURED, PRICES)
    point = crossing(found, "one VM", "one VM, reserved")
    assert (point.below, point.above, point.hours) == ("one VM", "one VM, reserved", pytest.approx(24 * 0.63))


def test_what_no_vm_can_do_is_not_offered_on_one() -> None:
    names = {way.name for way in computes(Workload(events_per_day=1e13, bytes_per_event=1), MEASURED, PRICES)}
    assert "one VM" not in names
    assert "ECS on Fargate" in names


def test_without_a_measure_of_spark_nothing_is_said_of_it() -> None:
    found = plan(
        Workload(events_per_day=1e6, bytes_per_event=1), replace(MEASURED, spark_events_per_core_s=None), PRICES
    )
    assert {one.compute for one in found.deployments} == set(OWN)


def test_the_benchmarks_figures_are_those_of_its_file(tmp_path: Path) -> None:
    results = REPOSITORY / "benchmarks" / "results" / "latest.json"
    systems = json.loads(results.read_text("utf-8"))["systems"]
    found = of_benchmark(results)
    assert found.events_per_core_s == systems["ours"]["events_per_core_s"]
    assert found.spark_events_per_core_s == systems["spark"]["events_per_core_s"]
    assert 50 < found.stored_bytes < 500
    with pytest.raises(ConfigurationError, match="make bench"):
        of_benchmark(tmp_path / "none.json")


def test_a_lakes_own_figures_count_all_that_its_runs_took(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))

    def measured() -> Throughput:
        costs = report(storage=storage, prices=PRICES, since=ALWAYS[0], until=ALWAYS[1])
        return of_lake(costs, benchmark=MEASURED)

    with pytest.raises(ConfigurationError, match="recorded no events"):
        measured()
    parts = [
        Spending(
            asset="bronze/a", datasets=("a",), events=900, used=Used(cpu_seconds=1, bytes_out=9000, requests_put=9)
        ),
        Spending(
            asset="silver/a",
            datasets=("a",),
            events=900,
            used=Used(cpu_seconds=2, bytes_out=9000, bytes_removed=4500, requests_get=18),
        ),
        Spending(asset="run/b", datasets=("a",), failed=True, used=Used(cpu_seconds=6, bytes_removed=10**9)),
    ]
    record(parts, run_id="1", storage=storage)
    found = measured()
    assert (found.events_per_core_s, found.spark_events_per_core_s) == (100, 12.5)
    assert (found.stored_bytes, found.puts, found.gets) == (15, 0.01, 0.02)


def test_the_command_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contracts").mkdir()
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("LAKEHOUSE_URI", str(tmp_path / "lake"))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["cost", "plan", *arguments])

    shown = run("--events-per-day", "100000000", "--hours-per-day", "2")
    assert shown.exit_code == 0, shown.output
    assert all(
        word in shown.stdout for word in ("one VM, reserved", "Kinesis", "recommended:", "break-even", "Glue below")
    )
    told = json.loads(run("--events-per-day", "100000000", "--events-per-core-s", "1000", "--json").stdout)
    assert told["throughput"]["events_per_core_s"] == 1000
    assert told["recommended"] == min(
        (one for one in told["deployments"] if one["as_it_is"]), key=lambda one: one["usd_per_day"]
    )
    refused = run("--events-per-day", "10", "--measured", "lake")
    assert (refused.exit_code, "recorded no events" in refused.stderr) == (1, True)
    assert run("--events-per-day", "0").exit_code == 2
