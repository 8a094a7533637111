"""Lag and latency of a real topic, beside what the test itself knows and another computation of the same."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

import polars as pl
import pytest
from confluent_kafka import Producer

from dagster_project.lake import specs
from dagster_project.slo.measure import measure
from dagster_project.sources.orders import Orders
from tests.integration.lake import PATIENCE, Lake


@pytest.fixture
def lake(make_lake: Callable[[str], Lake]) -> Lake:
    return make_lake("orders")


class Observer:
    """Looks every 20 s, as far as its own clock goes."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.at = dt.datetime.now(dt.UTC)

    def look(self) -> dict[str, tuple[float | None, int, int]]:
        done = measure(self.lake.catalog, storage=self.lake.storage, bootstrap=lambda: self.lake.servers, now=self.at)
        assert done is not None
        assert done.problems == []
        self.at += dt.timedelta(seconds=20)
        return {one.objective: (one.value, one.good, one.bad) for one in done.measurements}


def send(lake: Lake, *, partition: int, age: float) -> None:
    producer = Producer({"bootstrap.servers": lake.servers})
    stamp = int((time.time() - age) * 1000)
    producer.produce(lake.dataset.topic.name, b"anything", b"key", partition=partition, timestamp=stamp)
    assert producer.flush(PATIENCE) == 0


def test_lag_is_that_of_the_oldest_unread_record_of_any_kafka_partition(lake: Lake) -> None:
    observer = Observer(lake)
    assert observer.look()["lag_seconds"] == (0.0, 1, 0)
    for partition, age in ((0, 100), (0, 50), (3, 400), (3, 10), (7, 200)):
        send(lake, partition=partition, age=age)
    found = observer.look()
    assert found["lag_records"] == (5.0, 0, 0)
    seconds, good, bad = found["lag_seconds"]
    assert seconds == pytest.approx(420, abs=15)  # the observer's clock is 20 s on
    assert (good, bad) == (0, 1)  # the contract allows five minutes
    lake.ingest()
    assert observer.look()["lag_seconds"] == (0.0, 1, 0)


def test_latency_is_what_the_commits_say_of_each_event(lake: Lake) -> None:
    observer = Observer(lake)
    source = Orders(dataset=lake.dataset, events=2_050, seed=1)
    lake.produce(source, limit=50)
    lake.ingest()
    observer.look()
    waited: list[pl.Series] = []
    received = missing = 0
    read = lake.bronze()["_batch_id"].max()
    for _ in range(2):
        lake.produce(source, limit=1_000)
        lake.ingest()
        lake.refine()
        lake.compute()
        shown = max(lake.table(specs.gold(mart)).committed_at() for mart in lake.catalog.marts if mart.partitioned_by)
        rows = lake.bronze().filter(pl.col("_batch_id") > read)
        events = rows.filter(pl.col("_kind") == "event")
        waited.append((pl.lit(shown) - events["_kafka_timestamp"]).pipe(pl.select).to_series().dt.total_milliseconds())
        held = lake.quarantine().filter(pl.col("_batch_id") > read)
        received, missing = received + len(rows), missing + len(rows) - len(events) + len(held)
        read = rows["_batch_id"].max()
    found = observer.look()
    seconds = pl.concat(waited) / 1000
    assert missing > 0
    assert found["completeness"] == ((received - missing) / received, received - missing, missing)
    for name, share in (("latency_p50", 0.5), ("latency_p95", 0.95), ("latency_p99", 0.99)):
        value, good, bad = found[name]
        assert good + bad == len(seconds)
        # Marts are committed one after the other, and each event counts with the last of its own.
        assert value == pytest.approx(seconds.quantile(share, "linear"), abs=5)
    assert found["latency_p99"][2] == 0
