"""`python -m tests.live.peak`: ten times the rate for three minutes, then as before: how long until all is as it was?"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from benchmarks.verdict import judge as differences
from dagster_project.accounting.latency import delays
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.lake import specs
from dagster_project.lake.table import Table
from dagster_project.topics.broker import Broker
from tests.live import course, judge
from tests.live.ground import Ground, ground
from tests.live.hook import hook
from tests.live.place import project, shop

_MAKING_S = 10.0
_LOOK_S = 1.0
# Of the objectives, those that a peak can break.
_OF_SPEED = ("lag_records", "lag_seconds", "latency_p50", "latency_p95", "latency_p99")
_QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, kw_only=True)
class Look:
    """Records of the topic that Bronze lacks, at a moment (seconds since the start)."""

    at_s: float
    lag: int


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    with tempfile.TemporaryDirectory(prefix="peak-") as folder:
        found = _run(options, Path(folder), console)
    return judge.conclude(found, out=options.out)


def _run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, Any]:
    phases = [(options.rate, options.before), (options.peak, options.seconds), (options.rate, options.after)]
    peak_s = options.before, options.before + options.seconds
    project(home, datasets=["orders"], marts=["revenue_daily", "dim_date", "dim_region"])
    with hook() as told, ground(home, store=None, hook=told) as place:
        start = time.time() + _MAKING_S
        text = ",".join(f"{rate}x{seconds}" for rate, seconds in phases)
        producer = shop(
            place, "tests.live.crowd", f"--start={start}", f"--phases={text}", f"--oracle={home / 'expected'}"
        )
        looks: list[Look] = []
        try:
            while producer.poll() is None:
                place.check()
                looks.append(_look(place, start))
                time.sleep(_LOOK_S)
            output, _ = producer.communicate()
        finally:
            producer.kill()
        assert producer.returncode == 0, (home / "shop.log").read_text()[-2_000:]
        sent = json.loads(output)
        console.print(f"sent: {sent}")
        drained = course.settle(place, [], report=console.print)
        measured = judge.frame(place, "ops/measurements")
        levels = judge.levels(place)
        accounts, problems = judge.accounted(place)
        problems += levels.problems + differences(Path(place.settings.lake_uri), [home / "expected"])
        seconds = _latency(place, start)
    return {
        "events_per_s": options.rate,
        "peak_events_per_s": options.peak,
        "peak_seconds": options.seconds,
        **sent,
        "most_lag_records": max(look.lag for look in looks),
        "backlog_drained_s": _drained(looks, peak_s),
        "drained_after_the_last_event_s": round(drained, 1),
        "slo_recovery_s": _recovery(pl.from_pandas(measured), start=start, end_s=peak_s[1]),
        "latency_s": {
            name: _quantiles(seconds.filter(pl.col("at_s").is_between(first, last)))
            for name, first, last in (
                ("before", peak_s[0] / 2, peak_s[0]),
                ("peak", *peak_s),
                ("after", peak_s[1], peak_s[1] + options.after),
            )
        },
        "lag_records": [[round(look.at_s, 1), look.lag] for look in looks],
        "objectives": levels.said,
        "accounts": accounts,
        "problems": problems,
    }


def _look(place: Ground, start: float) -> Look:
    dataset = place.catalog.dataset("orders")
    bronze = Table.find(specs.bronze(dataset), storage=place.storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    return Look(at_s=time.time() - start, lag=lag(cursor, Broker(place.servers).topic(dataset.topic.name)))


def _drained(looks: Sequence[Look], peak_s: tuple[float, float]) -> float | None:
    """Seconds from the end of the peak until the lag is no more than the most of the time before the peak.

    At first each run pays for what a process does once.
    """
    usual = max((look.lag for look in looks if peak_s[0] / 2 < look.at_s < peak_s[0]), default=0)
    moments = (look.at_s for look in looks if look.at_s >= peak_s[1] and look.lag <= usual)
    return next((round(at - peak_s[1], 1) for at in moments), None)


def _recovery(measured: pl.DataFrame, *, start: float, end_s: float) -> dict[str, float | None]:
    """By objective of speed, seconds from the end of the peak to the last moment that broke it; `None`: none did."""
    begin = dt.datetime.fromtimestamp(start, dt.UTC)
    broken = measured.filter(
        pl.col("objective").is_in(_OF_SPEED) & (pl.col("value") > pl.col("bound")) & (pl.col("at") >= begin)
    )
    last = dict(broken.group_by("objective").agg(pl.col("at").max()).iter_rows())
    return {
        name: max(0.0, round((last[name] - begin).total_seconds() - end_s, 1)) if name in last else None
        for name in _OF_SPEED
    }


def _latency(place: Ground, start: float) -> pl.DataFrame:
    """Seconds from the append to Gold of each event, by the tables' commits, and when it was sent."""
    mart = place.catalog.mart("revenue_daily")
    found = delays(place.catalog.dataset("orders"), mart, storage=place.storage)
    return found.with_columns(at_s=pl.col("_kafka_timestamp").dt.timestamp("ms") / 1000 - start)


def _quantiles(found: pl.DataFrame) -> dict[str, float | None]:
    values = {f"p{share * 100:.0f}": found["seconds"].quantile(share, "linear") for share in _QUANTILES}
    return {name: None if value is None else round(value, 2) for name, value in values.items()}


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.live.peak", description=__doc__)
    parser.add_argument("--rate", type=float, default=2_000, help="events a second before and after")
    parser.add_argument("--peak", type=float, default=20_000, help="events a second meanwhile")
    parser.add_argument("--seconds", type=float, default=180.0, help="of the peak")
    parser.add_argument("--before", type=float, default=90.0, help="the first half of it is not looked at")
    parser.add_argument("--after", type=float, default=180.0)
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
