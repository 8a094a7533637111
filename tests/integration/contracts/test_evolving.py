"""A contract gains a column and a nested field while its topic is written, read and refined."""

from __future__ import annotations

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import polars as pl
import pytest
from confluent_kafka import Producer

from dagster_project.contract.diff import compare
from dagster_project.contract.loader import load_catalog
from dagster_project.ingest.bronze import Batch, ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake import specs
from dagster_project.lake.query import query
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine import gold, silver
from dagster_project.refine.gold import compute
from dagster_project.refine.recover import backfill
from dagster_project.refine.silver import refine
from tests.integration.lake import PATIENCE, Lake, unique
from tests.unit.lakes import CONTRACT, MART, SQL, write_project

PLACE = """
      - name: place
        logicalType: object
        properties:
          - {name: city, logicalType: string}
"""
GROWN = f"""{PLACE.rstrip()}
          - {{name: zip, logicalType: integer}}
      - {{name: coupon, logicalType: string, logicalTypeOptions: {{maxLength: 8}}}}
"""
KEYS, DAYS, REGIONS = 600, 3, ("eu", "us")
CARRIED_FROM = 500  # the event from which producers send what the contract learns later
SECOND = dt.timedelta(seconds=1)
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def event(number: int) -> dict[str, Any]:
    """Versions of a few keys, newer and newer; a key never changes its table partition."""
    key = number % KEYS
    more = number >= CARRIED_FROM
    return {
        "id": f"k{key}",
        "at": (START + number * SECOND).isoformat(),
        "placed": (START + dt.timedelta(days=key % DAYS)).isoformat(),
        "region": REGIONS[key % 2],
        "level": number,
        "place": {"city": f"c{number % 7}", **({"zip": number} if more else {})},
        **({"coupon": f"X{number}"} if more and number % 3 else {}),
    }


class Sending:
    """A producer that does not stop while a contract changes."""

    def __init__(self, lake: Lake) -> None:
        self.sent = 0
        self._lake = lake
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(PATIENCE)

    def wait_for_more(self, events: int) -> None:
        wanted, deadline = self.sent + events, time.monotonic() + PATIENCE
        while self.sent < wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self._lake.servers, "linger.ms": 5})
        while not self._end.wait(0.02):
            for _ in range(20):
                document = event(self.sent)
                producer.produce(self._lake.dataset.topic.name, key=document["id"], value=json.dumps(document))
                self.sent += 1
            producer.flush(PATIENCE)


def lake_of(home: Path, *, servers: str, topic: str, columns: str, version: str) -> Lake:
    """The project's contracts as they are in some version, over the same tables."""
    readings = CONTRACT.replace("test.readings", topic).replace("\nteam:", f"{columns}team:")
    sql, mart = SQL, MART
    if "coupon" in columns:
        sql = SQL.replace(" FROM", ", count(coupon) AS coupons, max(place.zip) AS zip FROM")
        total = "- {name: total, logicalType: integer}"
        mart = MART.replace(
            total, f"{total}\n      " + total.replace("total", "coupons") + f"\n      {total}".replace("total", "zip")
        )
    files = {"readings.odcs.yaml": readings, "levels.odcs.yaml": mart, "levels.sql": sql}
    catalog = load_catalog(write_project(home / version, files))
    storage = Storage.at(str(home / "lake"))
    return Lake(catalog=catalog, dataset=catalog.datasets[0], servers=servers, storage=storage, home=home)


def ingesting(lake: Lake) -> Iterator[Batch]:
    """A run that reads a few hundred messages at a time."""
    limits = Limits(rows=300, seconds=0.2)
    return ingest(
        lake.dataset,
        bootstrap_servers=lake.servers,
        storage=lake.storage,
        limits=limits,
        seconds=2.0,
        warn=pytest.fail,
    )


def through(lake: Lake) -> None:
    """One run of each table, as the sensors launch them."""
    list(ingesting(lake))
    backfill(lake.dataset, storage=lake.storage)
    lake.refine()
    lake.compute()


def test_a_contract_gains_columns_while_everything_runs(
    broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So that a run has several commits, between which others come.
    monkeypatch.setattr(silver, "_ROWS", 200)
    monkeypatch.setattr(gold, "_ROWS", 200)
    topic = unique("readings")
    old = lake_of(tmp_path, servers=broker, topic=topic, columns=PLACE, version="v1.0")
    new = lake_of(tmp_path, servers=broker, topic=topic, columns=GROWN, version="v1.1")
    assert {change.verdict for change in compare(old.dataset, new.dataset)} == {"additive"}
    old.create_topic()
    with Sending(old) as sending:
        sending.wait_for_more(1_000)
        through(old)
        # Runs with the old contract are under way when the first one with the new contract begins.
        sending.wait_for_more(1_000)
        reading = ingesting(old)
        next(reading)
        Table.open(specs.bronze(new.dataset), storage=new.storage)
        assert list(reading)
        refining = refine(old.dataset, storage=old.storage, keys=None)
        next(refining)
        Table.open(specs.silver(new.dataset), storage=new.storage)
        assert list(ingesting(new))
        assert list(refining)
        computing = compute(old.catalog.marts[0], catalog=old.catalog, storage=old.storage, keys=None)
        next(computing)
        Table.open(specs.gold(new.catalog.marts[0]), storage=new.storage)
        assert list(computing)
        # Old ones are launched after new ones, too, and take what these have written.
        for lake in (new, old, new, old):
            sending.wait_for_more(200)
            through(lake)
    list(ingesting(new))
    through(new)
    assert new.account().accounted
    check_against_events(new, sending.sent)


def check_against_events(lake: Lake, sent: int) -> None:
    assert sent > KEYS  # so that there are older versions
    newest = {event(number)["id"]: event(number) for number in range(sent)}
    names = ["id", "level", "coupon", "place"]
    found = {row["id"]: row for row in lake.silver().select(names).to_dicts()}
    wanted = {
        key: {
            **{name: values.get(name) for name in names},
            "place": {"city": values["place"]["city"], "zip": values["place"].get("zip")},
        }
        for key, values in newest.items()
    }
    assert found == wanted
    assert lake.silver()["_rescued"].null_count() == len(wanted)
    assert lake.bronze().height == sent

    frame = pl.DataFrame(
        [
            (
                dt.datetime.fromisoformat(v["placed"]).date(),
                v["region"],
                v["level"],
                v.get("coupon"),
                v["place"].get("zip"),
            )
            for v in newest.values()
        ],
        schema={"event_date": pl.Date, "region": pl.String, "level": pl.Int64, "coupon": pl.String, "zip": pl.Int64},
        orient="row",
    )
    by_partition = frame.group_by("event_date", "region").agg(
        readings=pl.len(), total=pl.sum("level"), coupons=pl.count("coupon"), zip=pl.max("zip")
    )
    sql = "FROM gold.levels SELECT event_date, region, readings, total, coupons, zip"
    levels = query(sql, catalog=lake.catalog, storage=lake.storage)
    assert set(levels.iter_rows()) == set(by_partition.iter_rows())
    coupons = query(
        "SELECT count(*) FROM silver.readings WHERE coupon IS NOT NULL", catalog=lake.catalog, storage=lake.storage
    )
    assert coupons.item() == frame["coupon"].count()
