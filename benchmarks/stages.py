"""What each stage takes of the machine and of the store, and what Dagster takes for an event of its own: for docs/scale.md.

Usage: python -m benchmarks.stages [--events 1000000]. The benchmark's orders go through Bronze, Silver and Gold in one
process, once to warm up and once to be measured. What came of it goes to benchmarks/results/stages.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import dagster as dg
import polars as pl

from benchmarks import resident
from benchmarks.ground import BENCHMARKS, Ground, ground
from benchmarks.peers.ours import PRELOADED
from benchmarks.pipeline import Pipeline
from benchmarks.preload import create, fill
from benchmarks.result import machine
from benchmarks.show import Show
from benchmarks.workload import Workload
from dagster_project.lake import meter, specs
from dagster_project.lake.table import Table

RESULT = BENCHMARKS / "results" / "stages.json"
_WARM = 50_000
# Events of Dagster that are timed one by one.
_TOLD = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    events: int = parser.parse_args().events
    for name in PRELOADED:
        import_module(name)
    show = Show()
    with ground("retail") as place:
        _drained(place, _WARM, show)
        stages = _drained(place, events, show)
        grown = resident.run(place.home, show)
    found = {
        "command": " ".join(["python -m benchmarks.stages", *sys.argv[1:]]),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "events": events,
        **stages,
        **grown,
        "dagster": _dagster(show),
    }
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


def _drained(place: Ground, events: int, show: Show) -> dict[str, Any]:
    topic = f"stages-{events}"
    create(topic, servers=place.servers)
    with show.bar(f"sending {events:,} events", events) as report:
        loaded = fill(
            Workload(events=events), servers=place.servers, topic=topic, folder=place.home / topic, report=report
        )
    pipeline = Pipeline.at(place.home / f"lake-{events}", servers=place.servers, topic=topic)
    # What Kafka holds of it: in transactions that were aborted, too, which are read and thrown away.
    log = sum(path.stat().st_size for path in (place.home / "services").rglob(f"{topic}-*/*.log"))
    bronze = _stage(pipeline.ingest)
    silver = _stage(pipeline.refine)
    gold = _stage(pipeline.compute)
    tables = {
        "bronze": specs.bronze(pipeline.dataset),
        "silver": specs.silver(pipeline.dataset),
        "gold": specs.gold(pipeline.mart),
    }
    stages = {
        name: {
            **took,
            "cpu_us_per_event": round(took["cpu_seconds"] / loaded.events * 1e6, 3),
            **_table(Table.open(tables[name], storage=pipeline.storage)),
        }
        for name, took in (("bronze", bronze), ("silver", silver), ("gold", gold))
    }
    for name, stage in stages.items():
        show.say(f"{name}: {stage['cpu_us_per_event']:.2f} µs of CPU for an event, {stage['commits']} commits")
    payloads = (
        Table.open(tables["bronze"], storage=pipeline.storage)
        .rows()
        .select((pl.col("_payload").bin.size() + pl.col("_key").bin.size()).mean())
    )
    return {
        "message_bytes": round(payloads.collect().item(), 1),
        "log_bytes_per_event": round(log / loaded.events, 1),
        "stages": stages,
    }


def _stage(work: Callable[[], object]) -> dict[str, Any]:
    before = meter.taken()
    work()
    used = meter.taken() - before
    return {
        name: round(getattr(used, name), 3)
        for name in (
            "wall_seconds",
            "cpu_seconds",
            "bytes_in",
            "bytes_out",
            "requests_put",
            "requests_get",
            "objects_out",
        )
    }


def _table(table: Table) -> dict[str, Any]:
    """How a table is stored, and how many times as large it is in memory."""
    files = table.files()
    stored = int(files["size_bytes"].sum())
    rows = table.rows().collect(engine="in-memory")
    return {
        "commits": table.version,
        "files": len(files),
        "rows": len(rows),
        "stored_bytes": stored,
        "times_in_memory": round(rows.estimated_size() / stored, 2),
    }


def _dagster(show: Show) -> dict[str, Any]:
    """Milliseconds and bytes of one materialization of one table partition, as it is told to Dagster on SQLite."""
    with (
        tempfile.TemporaryDirectory(prefix="lakehouse-benchmark-") as folder,
        dg.DagsterInstance.local_temp(folder) as instance,
    ):
        told: list[float] = []
        for number in range(_TOLD):
            event = dg.AssetMaterialization(
                ["bronze", "orders"],
                partition=dg.MultiPartitionKey({"date": f"2026-01-{number % 28 + 1:02d}", "region": "eu"}),
                metadata={"dagster/partition_row_count": number, "uri": "x" * 60, "cost/usd": 0.1},
            )
            began = time.perf_counter()
            instance.report_runless_asset_event(event)
            told.append((time.perf_counter() - began) * 1000)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    show.say(f"dagster: {median(told):.1f} ms for an event")
    return {
        "events": _TOLD,
        "event_ms": round(median(told), 2),
        "bytes_per_event": round(size / _TOLD),
        "cpus": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
