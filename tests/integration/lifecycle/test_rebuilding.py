"""After the retention, on S3: what can no longer be rebuilt is named, and nothing smaller takes its place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace

import pytest

from dagster_project.errors import ExpiredError
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lifecycle.expiry import expire
from dagster_project.lifecycle.upkeep import tend
from dagster_project.sources.orders import Orders
from tests.integration.lake import Lake, unique

EVENTS = 1500
# The stream begins with June; its first day, and late rows of the days before, are older than 30 days.
NOW = dt.datetime(2026, 7, 2, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def emptied(make_lake: Callable[[str], Lake], s3: str) -> Lake:
    """Read, refined, and the oldest table partitions expired and vacuumed."""
    lake = make_lake("orders")
    lake = replace(lake, storage=Storage.at(f"{s3}/{unique('orders')}"))
    lake.produce(Orders(dataset=lake.dataset, events=EVENTS, seed=6, late=0.1, poison=0.02))
    lake.ingest()
    lake.refine()
    lake.compute()
    before = lake.account()
    done = list(expire(lake.dataset, storage=lake.storage, now=NOW))
    assert sum(item.rows for item in done) > 300
    for table in lake.tables().values():
        assert tend(table.spec, storage=lake.storage, usd_per_gb_month=0.023, kept_hours=0) is not None
    after = lake.account()
    assert (after.problems, after.expired, after.partitions) == ((), sum(item.rows for item in done), before.partitions)
    return lake


def test_files_of_what_has_expired_are_gone_from_the_store(emptied: Lake) -> None:
    bronze = emptied.table(specs.bronze(emptied.dataset))
    stored = [path for path in bronze.filesystem.find(bronze.uri) if "_delta_log" not in path]
    assert len(stored) == len(bronze.files())
    days = {path.partition("event_date=")[2][:10] for path in stored}
    assert min(days) == "2026-06-02"
    assert len(emptied.bronze()) == EVENTS - emptied.account().expired


def test_silver_that_was_lost_is_not_rebuilt_smaller_and_the_error_says_what_is_missing(emptied: Lake) -> None:
    expired = emptied.account().expired
    silver = emptied.table(specs.silver(emptied.dataset))
    silver.filesystem.rm(silver.uri, recursive=True)
    with pytest.raises(ExpiredError) as refused:
        emptied.refine()
    assert f"{expired:,} rows of Bronze were deleted after the retention of 30 days" in refused.value.found
    for region in emptied.dataset.regions:
        assert f"2026-06-01/{region}: " in refused.value.found
    assert len(emptied.silver()) == 0
    assert any("has not read" in problem for problem in emptied.account().problems)
