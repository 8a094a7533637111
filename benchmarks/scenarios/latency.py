"""How long an event takes from Kafka to Gold through Dagster's daemon and sensors, while a steady stream flows."""

from __future__ import annotations

import time

import polars as pl

from benchmarks.figures import Outcome, rounded
from benchmarks.ground import Ground
from benchmarks.pipeline import Pipeline
from benchmarks.preload import Loaded, fill
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from benchmarks.systems import require
from benchmarks.verdict import judge
from benchmarks.workload import Workload
from dagster_project.accounting.latency import delays
from dagster_project.cli.watch import standing
from dagster_project.errors import AccountingError
from dagster_project.services import orchestrator
from dagster_project.topics import admin, derived
from dagster_project.topics.broker import Broker

# Sent before the stream, and waited for: the daemon's start and each job's first run are not what is asked.
_WARM = 1_000
_WARM_SEED = 50
# The stream keeps up, or it does not: after its end this is plenty for what is left.
_PATIENCE_S = 300.0
_LOOK_S = 1.0


def run(ground: Ground, sizes: Sizes, show: Show, *, rate: float) -> Outcome:
    """Args: rate: events a second."""
    pipeline = Pipeline.at(ground.home / "lake", servers=ground.servers)
    for step in admin.plan_all(derived.wanted([pipeline.dataset]), bootstrap_servers=ground.servers):
        admin.apply(step, bootstrap_servers=ground.servers)
    with orchestrator.alone(ground.settings), orchestrator.running(ground.settings) as orchestra:
        warm = _send(Workload(events=_WARM, seed=_WARM_SEED), pipeline, ground, show)
        _wait(pipeline, orchestra)
        workload = Workload(events=round(rate * sizes.seconds))
        began = time.time()
        steady = _send(workload, pipeline, ground, show, rate=rate)
        _wait(pipeline, orchestra)
    require("latency", judge(ground.home / "lake", [warm.oracle, steady.oracle]))
    found = delays(pipeline.dataset, pipeline.mart, storage=pipeline.storage)
    found = found.filter(found["_kafka_timestamp"].dt.timestamp("ms") >= began * 1000)
    seconds = found["seconds"]
    sent_ms = found.select(
        (pl.col("_kafka_timestamp").max() - pl.col("_kafka_timestamp").min()).dt.total_milliseconds()
    )
    quantiles = {f"p{percent}_s": rounded(seconds.quantile(percent / 100, "linear") or 0.0) for percent in (50, 95, 99)}
    show.say(f"latency: {len(seconds):,} events, {quantiles}")
    return Outcome(
        figures={"latency_p99_s": quantiles["p99_s"]},
        details={
            "events": workload.events,
            "events_per_s_wanted": round(rate),
            "events_per_s": round(workload.events * 1000 / sent_ms.item()),
            **quantiles,
        },
    )


def _send(workload: Workload, pipeline: Pipeline, ground: Ground, show: Show, rate: float = float("inf")) -> Loaded:
    with show.bar(f"sending {workload.events:,} events", workload.events) as report:
        return fill(
            workload,
            servers=ground.servers,
            topic=pipeline.dataset.topic.name,
            folder=ground.home / f"latency-{workload.seed}",
            report=report,
            rate=rate,
        )


def _wait(pipeline: Pipeline, orchestra: orchestrator.Orchestra) -> None:
    """Wait until Gold has all there is."""
    broker = Broker(pipeline.servers)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        orchestra.check()
        now = standing(pipeline.dataset, pipeline.catalog, pipeline.storage, broker)
        if now.lag == 0 and now.waiting == 0:
            return
        if time.monotonic() > deadline:
            raise AccountingError(
                f"after {_PATIENCE_S:.0f} s Gold still lacks events: lag {now.lag}, {now.waiting} table partitions wait",
                expected="the sensors to launch runs and the runs to succeed",
                remedy=f"read the logs in {orchestra.logs}",
            )
        time.sleep(_LOOK_S)
