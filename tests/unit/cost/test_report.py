"""Cost for a million events: each figure of the report computed again from the recorded rows and the YAML, by pandas."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pandas as pd
import polars as pl
import pytest
import yaml
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dagster_project.cli.main import app
from dagster_project.cli.output import console
from dagster_project.cost.prices import BOOK, load_prices
from dagster_project.cost.recorder import Spending, record
from dagster_project.cost.report import priced, report, total
from dagster_project.lake import specs
from dagster_project.lake.meter import Used
from dagster_project.lake.storage import Storage

ALWAYS = (dt.datetime(2000, 1, 1, tzinfo=dt.UTC), dt.datetime(3000, 1, 1, tzinfo=dt.UTC))
USED = [
    *("wall_seconds", "cpu_seconds", "bytes_in", "bytes_out", "bytes_removed", "objects_in", "objects_out"),
    *("requests_put", "requests_get"),
]


def used(number: int) -> Used:
    """Amounts of which no two are alike, so that none can stand in for another."""
    return Used(
        wall_seconds=number * 1.5,
        cpu_seconds=number * 1.25,
        bytes_in=number * 1_000_003,
        bytes_out=number * 5_000_011,
        bytes_removed=number * 700_001,
        objects_in=number * 7,
        objects_out=number * 11,
        requests_put=number * 13,
        requests_get=number * 1_700,
    )


def spent(asset: str, number: int, *datasets: str, events: int = 0, failed: bool = False) -> Spending:
    return Spending(asset=asset, datasets=datasets, events=events, failed=failed, used=used(number))


def runs(storage: Storage) -> None:
    """Two datasets; a run of Bronze that failed half-way and its second try; a mart of both; a table that only shrank."""
    record([spent("bronze/orders", 1, "orders", events=700, failed=True)], run_id="1", storage=storage)
    record([spent("bronze/orders", 2, "orders", events=300)], run_id="2", storage=storage)
    record([spent("bronze/payments", 3, "payments", events=50)], run_id="3", storage=storage)
    silver = spent("silver/orders", 4, "orders", events=1000)
    gold = spent("gold/ledger", 5, "orders", "payments", events=4000, failed=True)
    record([silver, gold, spent("run/refine_orders", 6, "orders", "payments")], run_id="4", storage=storage)
    # Tried again: the same rows were read twice, and are not more events for it.
    record([spent("gold/ledger", 7, "payments", "orders", events=4000)], run_id="5", storage=storage)
    shrunk = Spending(
        asset="expiry/orders", datasets=("orders",), used=Used(cpu_seconds=2.0, bytes_out=10, bytes_removed=10**9)
    )
    record([shrunk], run_id="6", storage=storage)
    record([spent("upkeep/gold_idle", 8, "idle")], run_id="7", storage=storage)


def recomputed(rows: pd.DataFrame, prices: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The report as its documentation defines it."""
    bronze = rows[rows.asset.str.startswith("bronze/")]
    found: dict[str, dict[str, Any]] = {}
    for asset, own in rows.groupby("asset"):
        names = sorted({name for several in own.datasets for name in several})
        events = sum(int(bronze.loc[bronze.asset == f"bronze/{name}", "events"].sum()) for name in names)
        sums = own[USED].sum()
        machine = sums.cpu_seconds * prices["vm"]["vcpu_hour"] / 3600
        grown = max(0, sums.bytes_out - sums.bytes_removed)
        store = grown / 2**30 * prices["store"]["gb_month"] * prices["store"]["months"]
        requests = (
            sums.requests_put * prices["store"]["thousand_puts"] + sums.requests_get * prices["store"]["thousand_gets"]
        ) / 1000
        usd = machine + store + requests
        found[str(asset)] = {
            "asset": asset,
            "datasets": tuple(names),
            "runs": len(own),
            "failed": int(own.failed.sum()),
            "events": events,
            **{name: sums[name] for name in USED},
            "requests": sums.requests_put + sums.requests_get,
            "machine_usd": machine,
            "store_usd": store,
            "requests_usd": requests,
            "usd": usd,
            "usd_per_million": usd / events * 1e6 if events else None,
        }
    return found


def recorded(storage: Storage) -> pd.DataFrame:
    return DeltaTable(storage.table("ops", "costs")).to_pandas()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage.at(str(tmp_path / "lake"))


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), name


def test_every_figure_is_what_pandas_makes_of_the_rows_and_the_price_book(storage: Storage) -> None:
    runs(storage)
    expected = recomputed(recorded(storage), yaml.safe_load(BOOK.read_text("utf-8")))
    found = report(storage=storage, prices=load_prices(), since=ALWAYS[0], until=ALWAYS[1])
    assert [cost.asset for cost in found] == sorted(expected)
    for cost in found:
        same(asdict(cost), expected[cost.asset])
    by_asset = {cost.asset: cost for cost in found}
    assert by_asset["bronze/orders"].events == by_asset["silver/orders"].events == 1000
    assert (by_asset["gold/ledger"].events, by_asset["gold/ledger"].failed, by_asset["gold/ledger"].runs) == (
        1050,
        1,
        2,
    )
    assert by_asset["expiry/orders"].store_usd == 0
    assert by_asset["upkeep/gold_idle"].usd_per_million is None
    assert by_asset["upkeep/gold_idle"].usd > 0


def test_the_total_is_the_sum_and_has_each_event_once(storage: Storage) -> None:
    runs(storage)
    expected = recomputed(recorded(storage), yaml.safe_load(BOOK.read_text("utf-8"))).values()
    whole = total(report(storage=storage, prices=load_prices(), since=ALWAYS[0], until=ALWAYS[1]))
    assert whole.events == 1050
    assert whole.usd == pytest.approx(sum(part["usd"] for part in expected))
    assert whole.usd_per_million == pytest.approx(whole.usd / 1050 * 1e6)
    assert whole.cpu_seconds == pytest.approx(sum(part["cpu_seconds"] for part in expected))
    assert (whole.runs, whole.failed) == (9, 2)


def test_a_projects_own_prices_are_what_it_is_priced_by(storage: Storage, tmp_path: Path) -> None:
    runs(storage)
    own = tmp_path / "own.yaml"
    own.write_text("store: {gb_month: 1.0, thousand_gets: 0}\nvm: {vcpu_hour: 36}\n")
    prices = yaml.safe_load(BOOK.read_text("utf-8"))
    prices["store"] |= {"gb_month": 1.0, "thousand_gets": 0}
    prices["vm"] |= {"vcpu_hour": 36}
    expected = recomputed(recorded(storage), prices)
    for cost in report(storage=storage, prices=load_prices(own), since=ALWAYS[0], until=ALWAYS[1]):
        same(asdict(cost), expected[cost.asset])


def test_only_the_time_that_is_asked_for_counts(storage: Storage) -> None:
    spec = specs.costs()
    moments = [dt.datetime(2026, 3, day, hour, tzinfo=dt.UTC) for day, hour in ((1, 0), (1, 23), (2, 0), (3, 5))]
    blank = dict.fromkeys(USED, 0)
    rows = [
        {
            "at": at,
            "asset": "bronze/orders",
            "run_id": str(number),
            "datasets": ["orders"],
            "failed": False,
            "events": 10**number,
            **blank,
            "event_date": at.date(),
        }
        for number, at in enumerate(moments)
    ]
    from dagster_project.lake.table import Table

    Table.open(spec, storage=storage).commit(pl.DataFrame(rows, schema=dict(spec.schema)), cursors={})

    def events(since: dt.datetime, until: dt.datetime) -> int:
        return sum(cost.events for cost in report(storage=storage, prices=load_prices(), since=since, until=until))

    assert events(*ALWAYS) == 1111
    assert events(moments[1], moments[2]) == 10
    assert events(moments[1], moments[3]) == 110
    # The same moments where clocks show another date.
    east = dt.timezone(dt.timedelta(hours=14))
    assert events(moments[1].astimezone(east), moments[2].astimezone(east)) == 10


def test_a_lake_without_costs_reports_none(storage: Storage) -> None:
    assert report(storage=storage, prices=load_prices(), since=ALWAYS[0], until=ALWAYS[1]) == ()
    assert total(()).usd_per_million is None


@settings(max_examples=30)  # pandas takes its time
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["bronze/a", "bronze/b", "silver/a", "gold/m"]),
            st.integers(0, 10**6),
            st.integers(0, 10**4),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_any_rows_are_priced_as_pandas_does(drawn: list[tuple[str, int, int, bool]]) -> None:
    names = {"bronze/a": ["a"], "bronze/b": ["b"], "silver/a": ["a"], "gold/m": ["a", "b"]}
    rows = [
        {
            "asset": asset,
            "datasets": names[asset],
            "failed": failed,
            "engine": "local",
            "events": events,
            **asdict(used(number)),
        }
        for asset, events, number, failed in drawn
    ]
    schema = {name: dtype for name, dtype in specs.costs().schema.items() if rows and name in rows[0]}
    frame = pl.DataFrame(rows, schema=schema or dict(specs.costs().schema))
    found = {cost.asset: asdict(cost) for cost in priced(frame, prices=load_prices())}
    prices = yaml.safe_load(BOOK.read_text("utf-8"))
    expected = recomputed(pd.DataFrame(rows), prices) if rows else {}
    assert found.keys() == expected.keys()
    for asset, figures in expected.items():
        same(found[asset], figures)


def test_the_command_prints_the_report(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "contracts").mkdir()
    monkeypatch.setenv("LAKEHOUSE_PROJECT", str(tmp_path))
    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("LAKEHOUSE_URI", storage.uri)
    empty = CliRunner().invoke(app, ["cost"])
    assert (empty.exit_code, "nothing was recorded" in empty.stdout) == (0, True), empty.output
    runs(storage)

    def told(*arguments: str) -> Any:
        result = CliRunner().invoke(app, ["cost", *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    expected = recomputed(recorded(storage), yaml.safe_load(BOOK.read_text("utf-8")))
    printed = told("--json")
    assert {cost["asset"]: cost["usd"] for cost in printed["assets"]} == {
        asset: pytest.approx(cost["usd"]) for asset, cost in expected.items()
    }
    assert printed["total"]["events"] == 1050
    payments = told("--json", "--dataset", "payments")
    assert [cost["asset"] for cost in payments["assets"]] == ["bronze/payments", "gold/ledger", "run/refine_orders"]
    assert payments["total"]["events"] == 50
    assert told("--json", "--since", "2999-01-01")["assets"] == []
    shown = cast("str", told())
    assert all(word in shown for word in ("gold/ledger", "total", "machine", "store", "requests", "1,050"))
    refused = CliRunner().invoke(app, ["cost", "--since", "yesterdays"])
    assert (refused.exit_code, "since" in refused.stderr) == (1, True)


def test_cpu_is_priced_by_the_engine_that_did_the_work(tmp_path: Path) -> None:
    storage = Storage.at(str(tmp_path))
    hours = {"local": 1, "glue": 2, "emr": 3}
    for engine, cpu in hours.items():
        used_there = Used(cpu_seconds=cpu * 3600.0)
        part = Spending(asset="silver/orders", datasets=("orders",), engine=engine, used=used_there)
        record([part], run_id=engine, storage=storage)
    (found,) = report(storage=storage, prices=load_prices(), since=ALWAYS[0], until=ALWAYS[1])
    prices = yaml.safe_load(BOOK.read_text("utf-8"))
    emr = (prices["emr"]["node_hour"] + prices["emr"]["service_hour"]) / prices["emr"]["node_vcpus"]
    assert found.machine_usd == pytest.approx(prices["vm"]["vcpu_hour"] + 2 * 0.44 / 4 + 3 * emr)
