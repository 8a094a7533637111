"""Rows beyond the lateness horizon are kept and counted, or quarantined, as the contract says, and never dropped."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.accounting.account import Account, account
from dagster_project.assets.silver import run_silver
from dagster_project.checks import silver as checks
from dagster_project.contract.model import Beyond, Catalog
from dagster_project.contract.quality import Breaker
from dagster_project.cost.prices import load_prices
from dagster_project.cost.recorder import Recorder
from dagster_project.refine.late import BUCKETS, HORIZON, together
from dagster_project.refine.quarantine import quarantined
from dagster_project.refine.release import release
from dagster_project.refine.silver import Refined, refine
from dagster_project.resources.lake import LakeResource
from tests.unit.lakes import Lake, Message, tombstone
from tests.unit.lateness import event

HOUR, DAY = 60, 24 * 60
WEEK = 7 * DAY


def made(tmp_path: Path, catalog: Catalog, beyond: Beyond, **changes: Any) -> Lake:
    week = dt.timedelta(days=7)
    return Lake.at(tmp_path / "lake", catalog=catalog, lateness_horizon=week, beyond_horizon=beyond, **changes)


def dead_device(first: int) -> list[Message]:
    """Events of last week that are sent now: four within the horizon, and two beyond it."""
    return [event(first + n, 9 + n / 2, sent=WEEK + 10, identity=f"d{n}") for n in range(6)]


def refined(lake: Lake, *, afresh: bool = False) -> list[Refined]:
    return list(refine(lake.dataset, storage=lake.storage, keys=None, afresh=afresh))


def accounted(lake: Lake) -> Account:
    found = account(lake.dataset, catalog=lake.catalog, storage=lake.storage, topic=None, bootstrap_servers="")
    assert found.accounted, found.problems
    places = ("silver_rows", "superseded", "quarantined", "tombstones", "gaps", "lost", "pending", "held")
    assert sum(getattr(found, place) for place in places) == found.offsets
    return found


def lateness(lake: Lake) -> dict[str, float | None]:
    """By key in Silver, in minutes."""
    return {key: None if row["_late_us"] is None else row["_late_us"] / 60e6 for key, row in lake.live().items()}


def test_a_dead_devices_rows_are_kept_and_counted(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "keep")
    lake.arrive(event(0, WEEK + 10), *dead_device(1))
    (found,) = refined(lake)
    assert (found.beyond, found.quarantined) == (2, 0)
    assert lateness(lake) == {"0/0": None, **{f"d{n}": WEEK + 1 - n / 2 for n in range(6)}}
    assert accounted(lake).silver_rows == 7


def test_or_quarantined_once_with_their_reason(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine")
    lake.arrive(event(0, WEEK + 10), *dead_device(1))
    (found,) = refined(lake)
    assert (found.beyond, found.quarantined, found.reasons) == (2, 2, {HORIZON: 2})
    assert set(lake.live()) == {"0/0", "d2", "d3", "d4", "d5"}
    rows = quarantined(lake.dataset, storage=lake.storage)
    assert rows.select("_kafka_offset", "_late_us").rows() == [(1, (WEEK + 1) * 60_000_000), (2, (WEEK + 0.5) * 60e6)]
    assert (accounted(lake).silver_rows, accounted(lake).quarantined) == (5, 2)
    refined(lake, afresh=True)
    assert (accounted(lake).silver_rows, accounted(lake).quarantined) == (5, 2)


def test_a_person_may_release_them_late_as_they_are(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine")
    lake.arrive(event(0, WEEK + 10), *dead_device(1))
    refined(lake)
    let_go = release(lake.dataset, storage=lake.storage, where=f"reasons = '{HORIZON}' AND _kafka_offset = 1")
    assert sum(let_go.released.values()) == 1
    expected = {"0/0": None, "d0": WEEK + 1.0, **{f"d{n}": WEEK + 1 - n / 2 for n in range(2, 6)}}
    assert lateness(lake) == expected
    assert (accounted(lake).silver_rows, accounted(lake).quarantined) == (6, 1)
    # Neither judging all again nor a Silver that is made anew takes the decision back.
    refined(lake, afresh=True)
    assert lateness(lake) == expected
    shutil.rmtree(lake.silver.uri)
    refined(lake)
    assert lateness(lake) == expected
    assert (accounted(lake).silver_rows, accounted(lake).quarantined) == (6, 1)


def test_a_row_that_breaks_a_rule_too_has_that_reason(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine")
    lake.arrive(event(0, WEEK + 10), event(1, 9, sent=WEEK + 10, level=-1))
    (found,) = refined(lake)
    assert found.reasons == {"level.minimum": 1}


def test_lateness_opens_no_breaker(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine", breaker=Breaker(bad_rate=0.1, min_rows=2))
    lake.arrive(event(0, WEEK + 10), *(event(n, 0, sent=WEEK + 10) for n in range(1, 9)))
    (found,) = refined(lake)
    assert (found.held, found.quarantined) == ({}, 8)


def test_the_histogram_counts_each_row_that_was_read_once(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine")
    top = 8 * DAY
    by = [HOUR, HOUR + 1, 6 * HOUR, 6 * HOUR + 1, DAY, DAY + 1, WEEK, WEEK + 1]
    lake.arrive(event(0, top), event(1, top - 10), *(event(2 + n, top - span, sent=top) for n, span in enumerate(by)))
    first = refined(lake)
    assert first[0].lateness == {"eu": {"in time": 2, "≤ 1 h": 1, "≤ 6 h": 2, "≤ 1 d": 2, "≤ 7 d": 2, "more": 1}}
    lake.arrive(event(10, 0, region="us"), event(11, 0), tombstone(12, "0/3", at=top), event(13, top, level=-1))
    both = together(commit.lateness for commit in (*first, *refined(lake)))
    assert both["us"] == {"in time": 1}
    assert both["eu"] == {"in time": 3, "≤ 1 h": 1, "≤ 6 h": 2, "≤ 1 d": 2, "≤ 7 d": 2, "more": 2}
    assert list(both["eu"]) == list(BUCKETS)


def test_a_run_says_how_late_its_rows_were_and_up_to_when_they_are_there(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "keep")
    resource, costs = LakeResource(uri=lake.storage.uri), Recorder("run", prices=load_prices())
    lake.arrive(event(0, WEEK + 10), event(1, 9, sent=WEEK + 10), event(2, 7, region="us", sent=WEEK + 10))
    outcome, _ = run_silver(lake.dataset, resource, costs, keys=None, afresh=False)
    assert outcome.metadata["lateness"].value == {"eu": {"in time": 1, "more": 1}, "us": {"in time": 1}}
    assert outcome.metadata["beyond_horizon"] == 1
    assert outcome.metadata["watermarks"].value == {
        "eu": "2026-01-08 00:00:00+00:00",
        "us": "2025-12-31 23:57:00+00:00, silent",
    }
    again, _ = run_silver(lake.dataset, resource, costs, keys=None, afresh=False)
    assert (again.metadata["lateness"].value, again.metadata["beyond_horizon"]) == ({}, 0)
    assert again.metadata["watermarks"] == outcome.metadata["watermarks"]


def verdict(lake: Lake, commits: list[Refined]) -> dg.AssetCheckResult:
    found = checks.results(lake.dataset, lake.silver, commits, dg.AssetKey(["silver", "readings"]))
    return next(result for result in found if result.check_name == checks.EVENT_TIME)


@pytest.mark.parametrize("beyond", ["keep", "quarantine"])
def test_the_check_warns_of_rows_beyond_the_horizon_in_the_run_that_read_them(
    tmp_path: Path, catalog: Catalog, beyond: Beyond
) -> None:
    lake = made(tmp_path, catalog, beyond)
    lake.arrive(event(0, WEEK + 10))
    assert verdict(lake, refined(lake)).passed
    lake.arrive(event(1, 9, sent=WEEK + 10))
    found = verdict(lake, refined(lake))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["rows_beyond_horizon"].value == 1
    lake.arrive(event(2, WEEK + 11))
    assert verdict(lake, refined(lake)).passed


def test_the_check_warns_of_silent_regions_and_since_when(lake: Lake) -> None:
    lake.arrive(event(0, 60), event(1, 51, region="us"))
    assert verdict(lake, refined(lake)).passed
    lake.arrive(event(2, 62))
    found = verdict(lake, refined(lake))
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.metadata["silent_since"].value == {"us": "2026-01-01 00:41:00+00:00"}
    lake.arrive(event(3, 52, region="us"))
    assert verdict(lake, refined(lake)).passed


def test_rows_that_are_only_late_break_no_rule(tmp_path: Path, catalog: Catalog) -> None:
    lake = made(tmp_path, catalog, "quarantine")
    lake.arrive(event(0, WEEK + 10), event(1, 0, sent=WEEK + 10))
    found = checks.results(lake.dataset, lake.silver, refined(lake), dg.AssetKey(["silver", "readings"]))
    rate = next(result for result in found if result.check_name == checks.PASS_RATE)
    assert rate.passed


def test_without_a_horizon_nothing_is_beyond_it(lake: Lake) -> None:
    free = replace(lake, dataset=replace(lake.dataset, lateness_horizon=None, beyond_horizon="keep"))
    free.arrive(event(0, 90 * DAY), event(1, 0, sent=90 * DAY))
    (found,) = refined(free)
    assert (found.beyond, found.quarantined, len(free.live())) == (0, 0, 2)
