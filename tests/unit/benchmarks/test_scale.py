"""The simulation behind docs/scale.md: its page is up to date, and what must hold of any figures."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scale.__main__ import PAGE, filled
from benchmarks.scale.day import DAY_S, carries, day
from benchmarks.scale.figures import Figures, load
from benchmarks.scale.model import RATES, limits, need
from benchmarks.scale.page import tables
from benchmarks.scale.race import race
from dagster_project.cost import router
from dagster_project.cost.prices import load_prices
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import sandbox
from dagster_project.refine import silver
from dagster_project.settings import REPOSITORY

FIGURES, PRICES = load(), load_prices()
rates = st.floats(1, 1e5)


def test_the_page_has_the_tables_of_the_simulation() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == filled(page, tables(FIGURES, PRICES)), "run `make scale`"


def test_a_figure_that_changes_changes_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    slower = replace(FIGURES, merge_us=replace(FIGURES.merge_us, value=FIGURES.merge_us.value * 2))
    assert page != filled(page, tables(slower, PRICES))


def test_what_the_code_says_is_what_it_says() -> None:
    said = {name: figure.value for name, figure in FIGURES if figure.kind == "the code"}
    instance = (REPOSITORY / "deploy" / "dagster.yaml").read_text(encoding="utf-8")
    found = re.search(r"max_concurrent_runs: (\d+)", instance)
    assert found is not None
    assert said["runs_at_once"] == int(found[1])
    assert said["batch_rows"] == Limits().rows
    assert said["portion_rows"] == silver._ROWS
    sources = {"gather_s": ("ingest/bronze.py", "_GATHER_S"), "run_s": ("assets/bronze.py", "RUN_SECONDS")}
    sources["tell_s"] = ("assets/bronze.py", "TELL_SECONDS")
    for name, (file, constant) in sources.items():
        text = (REPOSITORY / "dagster_project" / file).read_text(encoding="utf-8")
        value = re.search(rf"^{constant} = ([\d.]+)$", text, re.MULTILINE)
        assert value is not None
        assert said[name] == float(value[1])


def test_what_fits_into_memory_is_what_was_measured_and_what_a_mart_may_use() -> None:
    measured = json.loads((REPOSITORY / "benchmarks" / "results" / "stages.json").read_text("utf-8"))["stages"]
    assert pytest.approx(2 * measured["silver"]["times_in_memory"], rel=0.25) == router.IN_MEMORY
    assert f"{router._MEMORY:.0%}" == sandbox._MEMORY


def test_each_number_says_where_it_is_from() -> None:
    for name, figure in FIGURES:
        assert figure.says, name
        if figure.kind == "measured":
            file = figure.source.split(",")[0]
            assert (REPOSITORY / file).is_file(), name
        if figure.kind == "published":
            assert figure.source.startswith("https://"), name
        assert figure.value > 0, name


@settings(max_examples=25)
@given(st.floats(1, 3000), st.floats(1.1, 2))
def test_more_events_are_never_sooner_in_the_mart(rate: float, times: float) -> None:
    # Within what a dataset carries; beyond it the day is over in the middle of a round. Rounds are whole, and a portion more or less makes one a little shorter or longer.
    assert day(rate * times, FIGURES).behind_s >= day(rate, FIGURES).behind_s * 0.9


@settings(max_examples=10)
@given(rates)
def test_a_day_is_no_better_at_its_end(rate: float) -> None:
    assert day(rate, FIGURES).behind_s >= day(rate, FIGURES, until_s=DAY_S / 2).behind_s * 0.9


def test_a_round_is_what_its_parts_take() -> None:
    """The first rounds by hand: nothing is there yet, and a round takes its writes alone."""
    found = day(1000, FIGURES, until_s=1.0)
    # Two commits' files by four writers and the commits themselves: (2 + 1) and 2 PUTs of 60 ms, below the half second.
    assert (found.rounds, found.behind_s) == (2, pytest.approx(1.0))


def test_what_one_dataset_carries_it_carries() -> None:
    most = carries(FIGURES, seconds=FIGURES.fresh_s.value)
    assert day(most, FIGURES).behind_s <= FIGURES.fresh_s.value < day(most * 1.03, FIGURES).behind_s


def test_a_lone_writer_never_loses() -> None:
    found = race(writers=1, every=1.0, put_s=0.06, get_s=0.03)
    assert (found.commits, found.tries) == (pytest.approx(1, rel=0.02), 1)


@settings(max_examples=25)
@given(st.integers(1, 40), st.floats(0.2, 10), st.floats(0.005, 0.2), st.floats(0.005, 0.2))
def test_writers_commit_no_more_than_they_have_and_no_faster_than_the_log(
    writers: int, every: float, put_s: float, get_s: float
) -> None:
    found = race(writers=writers, every=every, put_s=put_s, get_s=get_s, seconds=120)
    assert found.commits <= writers / every * 1.1 + 0.1
    assert found.tries >= 1
    assert found == race(writers=writers, every=every, put_s=put_s, get_s=get_s, seconds=120)


def test_more_events_need_no_less() -> None:
    found = [need(rate, FIGURES, PRICES) for rate in RATES]
    for few, many in itertools.pairwise(found):
        for name in ("partitions", "brokers", "datasets", "shards", "cores", "memory_gib", "stored_tb", "told"):
            assert getattr(few, name) <= getattr(many, name), name
        assert few.platform.usd_per_day < many.platform.usd_per_day
    for one in found:
        assert one.partitions >= one.shards
        assert one.one.behind_s <= FIGURES.fresh_s.value
        assert one.stored_tb == pytest.approx(one.rate * 86_400 * FIGURES.stored_bytes.value / 1e12)


def test_the_limits_are_in_their_order() -> None:
    found = [one.rate for one in limits(FIGURES, PRICES)]
    assert found == sorted(found)


def figures_of(changed: str, value: float) -> Figures:
    return replace(FIGURES, **{changed: replace(getattr(FIGURES, changed), value=value)})


@pytest.mark.parametrize("name", ["merge_us", "gold_us", "get_s", "listed_ms"])
def test_what_grows_with_the_day_bounds_a_dataset(name: str) -> None:
    worse = figures_of(name, getattr(FIGURES, name).value * 3)
    assert carries(worse, seconds=3600) <= carries(FIGURES, seconds=3600)
