"""What a commit takes the longer the more is there already: a merge beside the rows of its table partition, a list of files."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl
from deltalake.transaction import AddAction

from benchmarks.ground import CONTRACTS
from benchmarks.show import Show
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.lake import specs
from dagster_project.lake.actions import spelled
from dagster_project.lake.log import path_of
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.refine.merge import merge

# Rows of a file, as a portion of Silver leaves it; rows that are there before each look; and those that come.
_FILE, _THERE, _COME = 300_000, (300_000, 3_000_000, 9_000_000), 10_000
_LOOKS = 3
# Files in the list, and how many of them one commit adds.
_FILES, _ADDED = (10_000, 50_000, 100_000), 10_000
_DAY = dt.date(2026, 1, 1)


def run(home: Path, show: Show) -> dict[str, Any]:
    (dataset,) = load_catalog(CONTRACTS / "retail").datasets
    return {"merge": _merges(dataset, home / "merges", show), "listing": _listings(dataset, home / "listings", show)}


def _merges(dataset: Dataset, home: Path, show: Show) -> dict[str, Any]:
    """CPU of deciding between new rows and those of a table partition; what is written is the same, however many there are."""
    table = Table.open(specs.silver(dataset), storage=Storage.at(str(home)))
    coming = _rows(table, first=10**12, count=_COME)
    there, cpu, wall = 0, [], []
    for wanted in _THERE:
        while there < wanted:
            table.commit(_rows(table, first=there, count=_FILE), cursors={})
            there += _FILE
        merge(dataset, table, coming)  # once for the list of files and the first touch of them
        began, begun = time.process_time(), time.perf_counter()
        for _ in range(_LOOKS):
            assert merge(dataset, table, coming).added.height == _COME
        cpu.append(round((time.process_time() - began) / _LOOKS, 4))
        wall.append(round((time.perf_counter() - begun) / _LOOKS, 4))
        show.say(f"merge: {_COME:,} rows beside {there:,} take {cpu[-1]:.3f} s of CPU")
    slope = (cpu[-1] - cpu[0]) / (_THERE[-1] - _THERE[0])
    return {"rows": _COME, "there": _THERE, "cpu_s": cpu, "wall_s": wall, "cpu_us_per_row_there": round(slope * 1e6, 5)}


def _rows(table: Table, *, first: int, count: int) -> pl.DataFrame:
    """Rows of one table partition, with keys of their own: as long as a UUID, and as little alike."""
    number = pl.int_range(first, first + count)
    moment = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    known = {
        "order_id": pl.concat_str(
            [number.hash(seed).cast(pl.String).str.pad_start(20, "0") for seed in (1, 2)]
        ).str.head(36),
        "event_time": pl.lit(moment),
        "_kafka_partition": pl.lit(0),
        "_kafka_offset": number,
        "_deleted": pl.lit(value=False),
        "event_date": pl.lit(_DAY),
        "region": pl.lit("eu"),
    }
    return pl.select(
        known.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in table.spec.schema.items()
    ).with_columns(pl.lit(0, pl.Int64).alias("_batch_id"))


def _listings(dataset: Dataset, home: Path, show: Show) -> dict[str, Any]:
    """Milliseconds of reading a list of files anew after one commit, and of writing a checkpoint of it."""
    storage = Storage.at(str(home))
    table = Table.open(specs.bronze(dataset), storage=storage)
    listing, checkpoint, there = [], [], 0
    for wanted in _FILES:
        while there < wanted:
            _log(table, storage, [_file(there + number) for number in range(_ADDED)])
            there += _ADDED
        table.files()
        times: list[float] = []
        for _ in range(_LOOKS):
            _log(table, storage, [_file(there)])
            there += 1
            began = time.perf_counter()
            table.files()
            times.append((time.perf_counter() - began) * 1000)
        listing.append(round(median(times), 1))
        began = time.perf_counter()
        table.delta.create_checkpoint()
        checkpoint.append(round((time.perf_counter() - began) * 1000, 1))
        show.say(f"listing: {there:,} files in {listing[-1]:.0f} ms, a checkpoint of them in {checkpoint[-1]:.0f} ms")
    return {"files": _FILES, "list_ms": listing, "checkpoint_ms": checkpoint}


def _log(table: Table, storage: Storage, files: list[AddAction]) -> None:
    """A commit of files that nobody has written: only the log is looked at."""
    content = spelled(files, cursors={}, partition_by=table.spec.partition_by, info={})
    storage.create(path_of(table.uri, table.version + 1), content)
    table.refresh()


def _file(number: int) -> AddAction:
    region = ("eu", "us", "apac", "latam", "mea")[number % 5]
    values: dict[str, str | None] = {"event_date": str(_DAY), "region": region}
    stats = {
        "numRecords": 1000,
        "minValues": {"_batch_id": number, "_kind": "event", "_kafka_offset": number * 1000},
        "maxValues": {"_batch_id": number, "_kind": "event", "_kafka_offset": number * 1000 + 999},
    }
    return AddAction(
        path=f"event_date={_DAY}/region={region}/{number:032x}.parquet",
        size=100_000,
        partition_values=values,
        modification_time=0,
        data_change=True,
        stats=json.dumps(stats),
    )
