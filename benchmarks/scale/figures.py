"""The numbers that docs/scale.md reckons with, and where each of them is from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Literal

from benchmarks.ground import BENCHMARKS
from dagster_project.cost.throughput import Throughput, of_benchmark

RESULTS = BENCHMARKS / "results"
Kind = Literal["measured", "the code", "published", "assumed"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number and where it is from.

    Attributes:
        source: of what was measured the file and the place in it, of what was published its page; of an assumption why.
    """

    value: float
    says: str
    kind: Kind
    source: str


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All that the model reckons with; seconds, bytes and events unless a name says otherwise."""

    # What the benchmark and `benchmarks.stages` measured.
    bronze_us: Figure
    silver_us: Figure
    gold_us: Figure
    merge_us: Figure
    parallel: Figure
    spark_times: Figure
    run_gib: Figure
    message_bytes: Figure
    log_bytes: Figure
    stored_bytes: Figure
    live: Figure
    event_ms: Figure
    listed_ms: Figure
    # What the code says.
    batch_rows: Figure
    gather_s: Figure
    portion_rows: Figure
    runs_at_once: Figure
    run_s: Figure
    tell_s: Figure
    # Limits that others publish.
    prefix_puts: Figure
    prefix_gets: Figure
    cluster_brokers: Figure
    broker_replicas: Figure
    broker_mb: Figure
    # What nobody has measured.
    put_s: Figure
    get_s: Figure
    partition_mb: Figure
    regions: Figure
    fresh_s: Figure
    run_events: Figure

    def __iter__(self) -> Iterator[tuple[str, Figure]]:
        """By name."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))


def load(results: Path = RESULTS) -> Figures:
    """All of them, with what was measured as the files of results have it."""
    latest = json.loads((results / "latest.json").read_text(encoding="utf-8"))
    stages = json.loads((results / "stages.json").read_text(encoding="utf-8"))
    ours, own = latest["systems"]["ours"], stages["stages"]
    events, silver_rows = stages["events"], own["silver"]["rows"]
    stored = sum(own[name]["stored_bytes"] for name in own)
    return Figures(
        bronze_us=_stage(own, "bronze", "CPU µs of Bronze for an event"),
        silver_us=_stage(own, "silver", "CPU µs of Silver for an event, into a small table"),
        gold_us=_measured(
            own["gold"]["cpu_seconds"] / silver_rows * 1e6,
            "CPU µs of a mart for each row of Silver that it reads",
            "stages.json, gold.cpu_seconds ÷ silver.rows",
        ),
        merge_us=_measured(
            stages["merge"]["cpu_us_per_row_there"],
            "CPU µs of a Silver commit for each row that its table partitions hold already",
            "stages.json, merge",
        ),
        parallel=_measured(
            median(one["cpu_s"] / one["wall_s"] for one in ours["rounds"]),
            "cores that one process keeps busy, of two",
            "latest.json, systems.ours: cpu_s ÷ wall_s",
        ),
        spark_times=_measured(_throughput(results).spark_times or 0.0, "CPU of Spark ÷ ours", "latest.json, systems"),
        run_gib=_measured(latest["figures"]["peak_rss_gib"], "GiB of a run that drains a backlog", "latest.json"),
        message_bytes=_measured(stages["message_bytes"], "bytes of a message, key included", "stages.json"),
        log_bytes=_measured(
            stages["log_bytes_per_event"], "bytes of an event in Kafka's log, lz4, one copy", "stages.json"
        ),
        stored_bytes=_measured(stored / events, "bytes of an event in Bronze, Silver and Gold", "stages.json, stages"),
        live=_measured(silver_rows / events, "rows of Silver for an event", "stages.json, silver.rows ÷ events"),
        event_ms=_measured(stages["dagster"]["event_ms"], "ms of one event of Dagster, on SQLite", "stages.json"),
        listed_ms=_measured(
            stages["listing"]["list_ms"][-1] / stages["listing"]["files"][-1],
            "ms of listing a table's files, for each file",
            "stages.json, listing",
        ),
        batch_rows=_code(100_000, "rows of a Bronze batch at the most; twice that in a backlog", "ingest/fetch.py"),
        gather_s=_code(
            1, "seconds that a Bronze batch gathers at the most while nothing is behind", "ingest/bronze.py"
        ),
        portion_rows=_code(300_000, "rows of a Silver commit at the most", "refine/silver.py"),
        runs_at_once=_code(16, "runs of an instance at once", "deploy/dagster.yaml"),
        run_s=_code(180, "seconds of a Bronze run", "assets/bronze.py"),
        tell_s=_code(60, "seconds between two tellings of what a run did", "assets/bronze.py"),
        prefix_puts=_published(3500, "PUTs a second of a partitioned prefix of S3", _S3),
        prefix_gets=_published(5500, "GETs a second of a partitioned prefix of S3", _S3),
        cluster_brokers=_published(
            60, "brokers of an MSK cluster with KRaft, 90 of an account; both can be raised", _QUOTA
        ),
        broker_replicas=_published(1000, "replicas of Kafka partitions on a kafka.m5.large, as advised", _ADVICE),
        broker_mb=Figure(
            value=4.8,
            says="10⁶ bytes a second into a kafka.m5.large",
            kind="assumed",
            source="as in the price book; no page was found that says it",
        ),
        put_s=_assumed(0.06, "seconds of a small PUT or LIST", _SLOW),
        get_s=_assumed(0.03, "seconds of a small GET", _SLOW),
        partition_mb=_assumed(10, "10⁶ bytes a second of one Kafka partition", "a common rule; measure your brokers"),
        regions=_assumed(5, "table partitions that a batch touches: the regions of one date", "the benchmark's orders"),
        fresh_s=_assumed(3600, "seconds within which a mart is to be fresh", "the default of a contract"),
        run_events=_assumed(40, "events of Dagster for a run beside what it tells", "start, steps, checks, end"),
    )


_S3 = "https://repost.aws/knowledge-center/s3-object-key-naming-pattern"
_QUOTA = "https://docs.aws.amazon.com/msk/latest/developerguide/limits.html"
_ADVICE = "https://docs.aws.amazon.com/msk/latest/developerguide/bestpractices.html"
_SLOW = (
    "AWS speaks of medians of tens of milliseconds below 512 KB: https://docs.aws.amazon.com/whitepapers/latest/"
    "s3-optimizing-performance-best-practices/timeouts-and-retries-for-latency-sensitive-applications.html"
)


def _throughput(results: Path) -> Throughput:
    return of_benchmark(results / "latest.json")


def _stage(own: dict[str, Any], name: str, says: str) -> Figure:
    return _measured(own[name]["cpu_us_per_event"], says, f"stages.json, stages.{name}")


def _measured(value: float, says: str, place: str) -> Figure:
    return Figure(value=value, says=says, kind="measured", source=f"benchmarks/results/{place}")


def _code(value: float, says: str, file: str) -> Figure:
    return Figure(value=value, says=says, kind="the code", source=file)


def _published(value: float, says: str, page: str) -> Figure:
    return Figure(value=value, says=says, kind="published", source=page)


def _assumed(value: float, says: str, why: str) -> Figure:
    return Figure(value=value, says=says, kind="assumed", source=why)
