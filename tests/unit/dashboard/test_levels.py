"""The course of latency is what was measured of the slowest dataset in the last hour."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from dagster_project.contract.loader import load_catalog
from dagster_project.dashboard.levels import read_levels
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY

NOW = dt.datetime(2026, 3, 1, 0, 30, tzinfo=dt.UTC)  # the hour began on the day before


def test_of_the_slowest_dataset_and_the_last_hour(tmp_path: Path) -> None:
    storage, catalog = Storage.at(str(tmp_path)), load_catalog(REPOSITORY / "contracts")
    assert read_levels(catalog, storage=storage, now=NOW).objectives == ()
    table = Table.open(specs.measurements(), storage=storage)
    for minutes in (90, 50, 10):
        at = NOW - dt.timedelta(minutes=minutes)
        rows = [
            {
                "at": at,
                "dataset": dataset,
                "objective": f"latency_p{percent}",
                "value": value,
                "event_date": at.date(),
                "good": 1,
                "bad": 0,
            }
            for dataset, base in (("orders", 3.0), ("payments", 1.0))
            for percent, value in ((50, base), (95, base * 2), (99, None))
        ]
        table.commit(pl.DataFrame(rows, schema=dict(table.spec.schema)), cursors={})
    found = read_levels(catalog, storage=storage, now=NOW)
    assert found.latency is not None
    assert found.latency.dataset == "orders"
    assert found.latency.at == tuple(int((NOW - dt.timedelta(minutes=minutes)).timestamp()) for minutes in (50, 10))
    assert {line.label: line.values for line in found.latency.series} == {
        "p50": (3.0, 3.0),
        "p95": (6.0, 6.0),
        "p99": (None, None),
    }
    assert {item.dataset for item in found.objectives} == {"orders", "payments"}
