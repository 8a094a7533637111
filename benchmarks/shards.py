"""One run that reads a topic beside several that share it: events a second and CPU for each event, of Bronze alone.

By turns, each in a lake of its own and with its processes started before the clock, so that a machine's moods befall all. What
they have written is compared before a figure is printed. Figures go to benchmarks/results/shards.json and docs/sharding.md.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median

import polars as pl

from benchmarks.ground import BENCHMARKS, Ground, ground
from benchmarks.measure import GO, READY, DrainError, Measured, measure
from benchmarks.pipeline import Pipeline
from benchmarks.preload import PARTITIONS, Loaded, create, fill
from benchmarks.workload import Workload
from dagster_project.assets.bronze import GROWTH
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.ingest.shards import Shard, shards
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.settings import REPOSITORY

RESULT = BENCHMARKS / "results" / "shards.json"
PAGE = REPOSITORY / "docs" / "sharding.md"
TOPIC = "benchmark.shards"
_MODULE = [sys.executable, "-m", "benchmarks.shards"]
# Loaded in the process that runs are forked off.
_PRELOADED = ("dagster_project.ingest.warm", "dagster_project.topics.feed")
_PATIENCE_S = 900.0


@dataclass(frozen=True, kw_only=True)
class Drained:
    """One drain.

    Attributes:
        batches: of rows.
        again: share of the bytes in Bronze's folder that were written under a batch id which another run came to first.
        contents: of all messages, which depends neither on their order nor on batches.
    """

    events_s: float
    cpu_us_per_event: float
    peak_rss_mib: float
    batches: int
    again: float
    contents: tuple[int, int, int]


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def work(out: Path, servers: str, shard: Shard) -> None:
    """Read one shard, once told to."""
    for name in _PRELOADED:
        import_module(name)
    pipeline = Pipeline.at(out, servers=servers, topic=TOPIC)
    _say(READY)
    sys.stdin.readline()
    for _ in ingest(
        pipeline.dataset,
        bootstrap_servers=servers,
        storage=pipeline.storage,
        limits=Limits(growth=GROWTH),
        seconds=math.inf,
        shard=shard,
        warn=tell,
    ):
        pass
    _say("{}")


def drain(out: Path, servers: str, count: int) -> None:
    """Read all shards, each by a process of its own."""
    children = [
        subprocess.Popen(
            [*_MODULE, "--out", str(out), "--servers", servers, "--shard", str(shard)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for shard in shards(count)
    ]
    heard = [child.stdout.readline().strip() for child in children if child.stdout]
    _say(READY if heard == [READY] * count else "a shard has died")
    sys.stdin.readline()
    for child in children:
        assert child.stdin is not None
        child.stdin.write(f"{GO}\n")
        child.stdin.flush()
    ended = [child.wait() for child in children]
    _say(json.dumps({"ended": ended}))
    sys.stdin.readline()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def drained(place: Ground, loaded: Loaded, count: int, number: int) -> Drained:
    """Measure one drain, and look at what was written."""
    out = place.home / f"lake-{count}-{number}"
    found = measure(
        f"{count} runs",
        [*_MODULE, "--out", str(out), "--servers", place.servers, "--shards", str(count)],
        out=out,
        log=place.home / "drain.log",
        cwd=REPOSITORY,
        environment=os.environ,
        patience_s=_PATIENCE_S,
    )
    if any(found.answer["ended"]):
        raise DrainError(f"of {count} runs one has failed", remedy="run it again and see its standard error")
    return _judged(found, Pipeline.at(out, servers=place.servers, topic=TOPIC), loaded)


def _judged(found: Measured, pipeline: Pipeline, loaded: Loaded) -> Drained:
    bronze = Table.find(specs.bronze(pipeline.dataset), storage=pipeline.storage)
    assert bronze is not None
    coordinates = pl.struct("_kafka_partition", "_kafka_offset")
    rows = bronze.rows().select(
        pl.len(),
        coordinates.n_unique().alias("places"),
        pl.struct("_kafka_partition", "_kafka_offset", "_key", "_payload", specs.LATE).hash(1).sum().alias("contents"),
        pl.col("_batch_id").n_unique().alias("batches"),
    )
    ((count, places, contents, batches),) = rows.collect().iter_rows()
    if not count == places == loaded.events:
        raise DrainError(f"{count:,} rows of {places:,} offsets", expected=f"{loaded.events:,} rows, each offset once")
    folder = Path(bronze.uri)
    on_disk = sum(file.stat().st_size for file in folder.rglob("*.parquet") if "_delta_log" not in file.parts)
    return Drained(
        events_s=loaded.events / found.wall_s,
        cpu_us_per_event=1e6 * found.cpu_s / loaded.events,
        peak_rss_mib=found.peak_rss_mib,
        batches=batches,
        again=1 - int(bronze.files()["size_bytes"].sum()) / on_disk,
        contents=(count, places, contents),
    )


def figures(drains: list[Drained]) -> dict[str, object]:
    """The middle of several drains, and the extremes."""

    def spread(values: list[float], digits: int) -> dict[str, float]:
        middle, low, high = (round(value, digits) for value in (median(values), min(values), max(values)))
        return {"median": middle, "least": low, "most": high}

    return {
        "events_s": spread([one.events_s for one in drains], 0),
        "cpu_us_per_event": spread([one.cpu_us_per_event for one in drains], 2),
        "peak_rss_mib": spread([one.peak_rss_mib for one in drains], 0),
        "batches": spread([float(one.batches) for one in drains], 0),
        "written_again": spread([one.again for one in drains], 3),
    }


def compare(place: Ground, *, events: int, rounds: int, counts: list[int]) -> dict[str, object]:
    """All drains, by turns."""
    create(TOPIC, servers=place.servers)
    loaded = fill(
        Workload(events=events), servers=place.servers, topic=TOPIC, folder=place.home / "load", report=lambda _: None
    )
    tell(f"{loaded.events:,} events in {PARTITIONS} Kafka partitions")
    drains: dict[int, list[Drained]] = {count: [] for count in counts}
    for number in range(rounds):
        for count in counts:
            drains[count].append(one := drained(place, loaded, count, number))
            tell(f"{count} runs: {one.events_s:,.0f} events/s, {one.cpu_us_per_event:.2f} µs of CPU an event")
    if len({one.contents for own in drains.values() for one in own}) > 1:
        raise DrainError("what one run has written is not what several have", expected="the same rows of Bronze")
    return {
        "measured": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 1),
        "events": loaded.events,
        "kafka_partitions": PARTITIONS,
        "rounds": rounds,
        "runs": {str(count): figures(own) for count, own in drains.items()},
    }


def write_page(result: dict[str, object], page: str) -> str:
    """The page with the figures in their place."""
    runs = result["runs"]
    assert isinstance(runs, dict)
    lines = [
        "| runs | events a second | CPU for an event | memory at most | written again |",
        "| ---: | --- | --- | --- | --- |",
    ]
    for count, own in runs.items():
        speed, cpu = own["events_s"], own["cpu_us_per_event"]
        lines.append(
            f"| {count} | {speed['median']:,.0f} ({speed['least']:,.0f} to {speed['most']:,.0f}) "
            f"| {cpu['median']:.2f} µs ({cpu['least']:.2f} to {cpu['most']:.2f}) "
            f"| {own['peak_rss_mib']['median']:,.0f} MiB | {own['written_again']['median']:.1%} |"
        )
    told = (
        f"{result['events']:,} orders in {result['kafka_partitions']} Kafka partitions, Bronze alone, {result['rounds']} rounds by "
        f"turns, {result['cores']} cores, {str(result['measured'])[:10]}; the median, and the least and the most:\n\n"
    )
    block = f"<!-- measured -->\n{told}" + "\n".join(lines) + "\n<!-- /measured -->"
    return re.sub(r"<!-- measured -->.*<!-- /measured -->", lambda _: block, page, flags=re.DOTALL)


def main() -> None:
    """Measure, print, and write the figures down."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--events", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--counts", type=int, nargs="+", default=[1, 2])
    for hidden in ("--out", "--servers", "--shard", "--shards"):
        arguments.add_argument(hidden, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.shard:
        work(Path(chosen.out), chosen.servers, Shard.parse(chosen.shard))
    elif chosen.shards:
        drain(Path(chosen.out), chosen.servers, int(chosen.shards))
    else:
        with ground("retail") as place:
            result = compare(place, events=chosen.events, rounds=chosen.rounds, counts=chosen.counts)
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        PAGE.write_text(write_page(result, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
