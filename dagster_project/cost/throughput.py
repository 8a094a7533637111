"""What one core does in a second, measured: by the benchmark, or by this lake's own runs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dagster_project.cost.report import AssetCost, total
from dagster_project.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What is known of how the work scales.

    Attributes:
        source: where that is from.
        events_per_core_s: from Kafka to Gold.
        spark_events_per_core_s: the same work as a Spark job with Delta; `None` where nobody has measured it.
        stored_bytes: in the lake, for an event.
        puts, gets: of the store, for an event.
    """

    source: str
    events_per_core_s: float
    spark_events_per_core_s: float | None
    stored_bytes: float
    puts: float = 0.0
    gets: float = 0.0

    @property
    def spark_times(self) -> float | None:
        """How many times the CPU Spark takes for an event."""
        return None if self.spark_events_per_core_s is None else self.events_per_core_s / self.spark_events_per_core_s


def of_benchmark(results: Path) -> Throughput:
    """What the benchmark found on the machine that it ran on; it counts no requests.

    Raises:
        ConfigurationError: there are no results, or they lack a system.
    """
    try:
        systems = json.loads(results.read_text(encoding="utf-8"))["systems"]
        ours = systems["ours"]
        found = Throughput(
            source=f"benchmark, {results.name}",
            events_per_core_s=float(ours["events_per_core_s"]),
            spark_events_per_core_s=float(systems["spark"]["events_per_core_s"]) if "spark" in systems else None,
            stored_bytes=ours["rounds"][0]["output_bytes"] / ours["events"],
        )
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ConfigurationError(
            f"{results}: {type(error).__name__}: {error}",
            expected="results of `make bench`",
            remedy="run it, or give --events-per-core-s; or plan with --measured lake, from this lake's own runs",
        ) from error
    return found


def of_lake(costs: Iterable[AssetCost], *, benchmark: Throughput | None) -> Throughput:
    """What a lake's own runs took, all told: starting processes, maintenance and what failed are in it.

    Args:
        costs: of each asset.
        benchmark: how much slower Spark is; this lake cannot say.

    Raises:
        ConfigurationError: nothing was recorded.
    """
    parts = list(costs)
    whole = total(parts)
    if not whole.events or not whole.cpu_seconds:
        raise ConfigurationError(
            "this lake has recorded no events in ops/costs",
            expected="runs of Bronze",
            remedy="let some run, or plan with --measured benchmark",
        )
    ours = whole.events / whole.cpu_seconds
    spark = None if benchmark is None else benchmark.spark_events_per_core_s
    return Throughput(
        source=f"this lake, {whole.events:,} events in {whole.runs:,} materializations",
        events_per_core_s=ours,
        spark_events_per_core_s=None
        if spark is None or benchmark is None
        else ours * spark / benchmark.events_per_core_s,
        stored_bytes=sum(max(0, part.bytes_out - part.bytes_removed) for part in parts) / whole.events,
        puts=whole.requests_put / whole.events,
        gets=whole.requests_get / whole.events,
    )
