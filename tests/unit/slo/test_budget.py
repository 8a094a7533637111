"""The arithmetic of budgets equals one that knows nothing but the raw records, the contract, and what the docs say."""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_project.contract.model import Catalog
from dagster_project.lake import specs
from dagster_project.lake.compaction import compact
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.budget import is_burning
from dagster_project.slo.status import Objective, status

NOW = dt.datetime(2026, 3, 31, 12, tzinfo=dt.UTC)
HOURS = {"5m": 1 / 12, "30m": 0.5, "1h": 1.0, "6h": 6.0, "3d": 72.0}
# Long and short windows, and by how much both must burn; at what age of the measurements the short one is whole, in minutes.
PAIRS = (("1h", "5m", 14.4, 5), ("6h", "30m", 6.0, 30), ("3d", "6h", 1.0, 360))


def record(
    ago_s: float,
    name: str = "lag_seconds",
    *,
    good: int = 1,
    bad: int = 0,
    region: str | None = None,
    value: float = 1.0,
) -> dict[str, Any]:
    """One raw record, measured so many seconds ago."""
    at = NOW - dt.timedelta(seconds=ago_s)
    return {
        "at": at,
        "dataset": "readings",
        "region": region,
        "objective": name,
        "value": value,
        "bound": 1.0,
        "good": good,
        "bad": bad,
        "event_date": at.date(),
    }


def write(folder: Path, *commits: list[dict[str, Any]]) -> Storage:
    storage = Storage.at(str(folder))
    spec = specs.measurements()
    for rows in commits:
        Table.open(spec, storage=storage).commit(pl.DataFrame(rows, schema=dict(spec.schema)), cursors={})
    return storage


def oracle(rows: list[dict[str, Any]], name: str, region: str | None, target: float, days: int) -> dict[str, Any]:
    """The docs' formulas, one record at a time, in pandas."""
    frame: Any = pd.DataFrame(rows)
    frame = frame[frame["at"] <= NOW]
    ticks = [*sorted(set(frame["at"])), pd.Timestamp(NOW)]
    own = frame[
        (frame["objective"] == name) & (frame["region"].isna() if region is None else frame["region"] == region)
    ]
    first = own["at"].min()
    step = pd.Timedelta(seconds=20)
    nobody = [
        pd.date_range(left + step, right, freq=step, inclusive="left")
        for left, right in itertools.pairwise(ticks)
        if name == "availability" and right - left > pd.Timedelta(seconds=60)
    ]
    missed: Any = pd.Series([], dtype="datetime64[us, UTC]") if not nobody else pd.concat(map(pd.Series, nobody))
    missed = missed[missed > first]

    def counts(hours: float) -> tuple[int, int, int]:
        begin = pd.Timestamp(NOW) - pd.Timedelta(hours=hours)
        inside = own[own["at"] > begin]
        unseen = int((missed > begin).sum())
        return int(inside["good"].sum()), int(inside["bad"].sum()) + unseen, unseen

    good, bad, unseen = counts(days * 24)
    rates = {}
    for window, hours in HOURS.items():
        ok, wrong, _ = counts(hours)
        rates[window] = wrong / (ok + wrong) / (1 - target) if ok + wrong else 0.0
    newest = own.sort_values("at").iloc[-1]
    return {
        "good": good,
        "bad": bad,
        "unmeasured": unseen,
        "attained": good / (good + bad) if good + bad else None,
        "budget_left": 1 - (bad / (good + bad) / (1 - target) if good + bad else 0.0),
        "burn": rates,
        "burning": any(
            min(rates[long], rates[short]) > factor and first <= pd.Timestamp(NOW) - pd.Timedelta(minutes=minutes)
            for long, short, factor, minutes in PAIRS
        ),
        "at": newest["at"].to_pydatetime(),
        "value": newest["value"],
    }


def found(catalog: Catalog, storage: Storage) -> dict[tuple[str, str | None], Objective]:
    return {(one.name, one.region): one for one in status(catalog, storage=storage, now=NOW)}


def assert_equal(one: Objective, expected: dict[str, Any]) -> None:
    for name, value in expected.items():
        exact = value is None or name in {"good", "bad", "unmeasured", "burning", "at"}
        assert getattr(one, name) == (value if exact else pytest.approx(value, rel=1e-12)), name


# Seconds before now: dense in the short windows, and around their edges to the microsecond; also some of the future.
SECONDS = st.one_of(
    st.integers(-100, 700),
    st.integers(0, 35 * 86_400),
    st.builds(
        lambda edge, by: edge + by,
        st.sampled_from([300, 1800, 3600, 21_600, 259_200, 28 * 86_400]),
        st.sampled_from([-20.0, -1e-6, 0.0, 1e-6, 20.0]),
    ),
)
COUNTS = st.integers(0, 5)
SERIES = [
    ("lag_seconds", None),
    ("latency_p95", None),
    ("freshness", "eu"),
    ("freshness", "us"),
    ("availability", "eu"),
]


@settings(max_examples=12)
@given(
    commits=st.lists(
        st.lists(
            st.tuples(SECONDS, st.sampled_from(SERIES), COUNTS, COUNTS),
            min_size=1,
            max_size=12,
        ),
        min_size=1,
        max_size=3,
    ),
    merged=st.booleans(),
)
def test_any_records_give_what_the_formulas_give(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory, commits: list[Any], merged: bool
) -> None:
    rows = [
        [
            record(ago, name, good=good, bad=bad, region=region, value=number)
            for number, (ago, (name, region), good, bad) in enumerate(dict.fromkeys(own, None))
        ]
        for own in commits
    ]
    every = [row for own in rows for row in own]
    # Of one series the newest record must be one, or the value is either's.
    newest = {}
    for row in every:
        newest.setdefault((row["objective"], row["region"], row["at"]), []).append(row)
    for same in newest.values():
        for row in same:
            row["value"] = same[0]["value"]
    storage = write(tmp_path_factory.mktemp("ops"), *rows)
    before = found(catalog, storage)
    if merged:  # once more, of files that are put together, and of sums that are known from before
        list(compact(specs.measurements(), storage=storage))
        assert found(catalog, storage) == before
    keys = {(row["objective"], row["region"]) for row in every if row["at"] <= NOW}
    assert before.keys() == keys
    for name, region in keys:
        expected = oracle(every, name, region, before[name, region].target, days=28)
        assert_equal(before[name, region], expected)


def test_of_what_nobody_measured_nobody_can_say_that_it_was_there(catalog: Catalog, tmp_path: Path) -> None:
    storage = write(tmp_path, [record(ago, "availability", region="eu") for ago in range(7200, 3600, -20)])
    one = found(catalog, storage)["availability", "eu"]
    assert (one.good, one.bad, one.unmeasured) == (180, 180, 180)  # the last is an hour and 20 s ago; then nothing
    assert one.burn["5m"] == pytest.approx(200)
    assert one.burning
    assert one.budget_left < 0


@pytest.mark.parametrize(("name", "region"), [("lag_seconds", None), ("freshness", "eu")])
def test_of_lag_and_freshness_the_first_look_after_a_gap_tells(
    catalog: Catalog, tmp_path: Path, name: str, region: str | None
) -> None:
    night = [record(ago, name, region=region) for ago in range(40_000, 39_000, -20)]
    storage = write(tmp_path, night)
    one = found(catalog, storage)[name, region]
    assert (one.good, one.bad, one.unmeasured, one.burning) == (50, 0, 0, False)
    write(tmp_path, [record(20, name, region=region, good=0, bad=1, value=7200.0)])
    one = found(catalog, storage)[name, region]
    assert (one.good, one.bad, one.unmeasured, one.value) == (50, 1, 0, 7200.0)
    assert one.burn["5m"] == pytest.approx(100)


def test_a_late_tick_is_no_gap(catalog: Catalog, tmp_path: Path) -> None:
    storage = write(tmp_path, [record(ago, "availability", region="eu") for ago in (180, 120, 60)])
    assert found(catalog, storage)["availability", "eu"].unmeasured == 0


def test_what_is_promised_by_nobody_is_shown_and_never_bad(catalog: Catalog, tmp_path: Path) -> None:
    storage = write(tmp_path, [record(90_000, "lag_records", good=0, bad=0, value=7.0)])
    one = found(catalog, storage)["lag_records", None]
    assert (one.value, one.bound, one.good, one.bad) == (7.0, None, 0, 0)
    assert (one.attained, one.budget_left, one.burning) == (None, 1.0, False)


def test_events_that_were_not_counted_are_counted_later_and_no_gap(catalog: Catalog, tmp_path: Path) -> None:
    storage = write(tmp_path, [record(90_000, "completeness", good=999), record(60, "completeness", good=999, bad=2)])
    one = found(catalog, storage)["completeness", None]
    assert (one.good, one.bad, one.unmeasured) == (1998, 2, 0)
    assert one.budget_left == pytest.approx(0.0)


@pytest.mark.parametrize(("long", "short", "factor", "minutes"), PAIRS)
def test_both_windows_of_a_pair_must_burn(long: str, short: str, factor: float, minutes: int) -> None:
    calm, whole = dict.fromkeys(HOURS, 0.0), dt.timedelta(minutes=minutes)
    above, below = factor + 0.01, factor - 0.01
    assert is_burning({**calm, long: above, short: above}, measured=whole)
    assert not is_burning({**calm, long: above, short: below}, measured=whole)
    assert not is_burning({**calm, long: below, short: above}, measured=whole)
    assert not is_burning({**calm, long: above, short: above}, measured=whole - dt.timedelta(microseconds=1))


def test_four_bad_moments_of_four_burn_nothing_yet(catalog: Catalog, tmp_path: Path) -> None:
    """What has just begun is looked at for five minutes first; if it is as bad then, it burns."""
    storage = write(tmp_path, [record(ago, good=0, bad=1) for ago in (80, 60, 40, 20)])
    one = found(catalog, storage)["lag_seconds", None]
    assert (one.bad, one.burn["5m"], one.burning) == (4, pytest.approx(100), False)
    write(tmp_path, [record(ago, good=0, bad=1) for ago in range(300, 80, -20)])
    assert found(catalog, storage)["lag_seconds", None].burning


def test_the_window_is_the_contracts(catalog: Catalog, tmp_path: Path) -> None:
    storage = write(tmp_path, [record(5 * 86_400, "completeness", bad=1), record(60, "completeness", good=9)])
    dataset = catalog.datasets[0]
    shorter = replace(dataset, slo=replace(dataset.slo, window=dt.timedelta(days=3)))
    (one,) = status(catalog, storage=storage, now=NOW)
    (other,) = status(replace(catalog, datasets=(shorter,)), storage=storage, now=NOW)
    assert (one.bad, other.bad) == (1, 0)


def test_nothing_measured_is_nothing_said(catalog: Catalog, tmp_path: Path) -> None:
    assert status(catalog, storage=Storage.at(str(tmp_path)), now=NOW) == ()
