"""`python -m tests.live.crowd`: orders by the clock at rates that change, made by column so that 20,000 a second cost little.

Writes the oracle of the benchmarks beside it: what Silver and Gold must hold in the end.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.oracle import Oracle
from benchmarks.plan import Plan
from benchmarks.sender import Sender
from benchmarks.workload import Chunk, Segment
from dagster_project.contract.loader import load_catalog
from dagster_project.services.kafka import bootstrap_servers
from dagster_project.settings import Settings

REGIONS = ("eu", "us", "apac")
# Events of so long are made at once, in a hundredth of a second to a sixth.
_CHUNK_S = 2.5
_TICK_S = 0.05
# No order is older, so that what is late belongs to today or yesterday.
_OLDEST_MS = 30 * 60 * 1_000
_MS = 1_000


class Current(Plan):
    """Of now: what breaks a rule pretends to be of the moment, and not of the next hour."""

    def _newer(self, count: int) -> pl.DataFrame:
        chosen = self._last[self._rng.integers(0, len(self._last), count)]
        arrival = self._rng.uniform(self.end_ms - self._width_ms, self.end_ms, count)
        return chosen.with_columns(arrival=pl.Series(arrival))


def chunks(phases: list[tuple[float, float]], *, start_s: float, seed: int) -> Iterator[Current]:
    """The plans of a stream that has each of these rates for so many seconds."""
    first, begin_ms = 0, start_s * _MS
    oldest_ms = int(begin_ms) - _OLDEST_MS
    for rate, seconds in phases:
        for _ in range(round(seconds / _CHUNK_S)):
            last, end_ms = first + round(rate * _CHUNK_S), begin_ms + _CHUNK_S * _MS
            yield Current(
                seed=seed,
                first=first,
                last=last,
                begin_ms=begin_ms,
                end_ms=end_ms,
                oldest_ms=oldest_ms,
                regions=REGIONS,
            )
            first, begin_ms = last, end_ms


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.live.crowd", description=__doc__)
    parser.add_argument("--start", type=float, required=True, help="since the epoch")
    parser.add_argument("--phases", required=True, help="RATExSECONDS, with commas")
    parser.add_argument("--oracle", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    phases = [(float(rate), float(seconds)) for rate, seconds in (one.split("x") for one in options.phases.split(","))]
    settings = Settings.from_environment()
    topic = load_catalog(settings.contracts).dataset("orders").topic.name
    sender = Sender(servers=bootstrap_servers(settings), topic=topic)
    oracle = Oracle(options.oracle)
    waiting: pl.DataFrame | None = None
    sent, behind_s = 0, 0.0
    for plan in chunks(phases, start_s=options.start, seed=options.seed):
        oracle.add(Chunk(segments=(), silver=plan.silver, counts=plan.counts))
        waiting = (plan.messages if waiting is None else pl.concat([waiting, plan.messages])).sort("arrival")
        while (now_ms := time.time() * _MS) < plan.end_ms:
            due = waiting.filter(pl.col("arrival") <= now_ms)
            sent += _send(sender, due)
            waiting = waiting[len(due) :]
            time.sleep(_TICK_S)
        behind_s = max(behind_s, now_ms / _MS - plan.end_ms / _MS)
    assert waiting is not None
    sent += _send(sender, waiting)  # what would have come after the end
    sender.close()
    oracle.close()
    sys.stdout.write(json.dumps({"sent": sent, "counts": dict(oracle.counts), "behind_s": round(behind_s, 1)}) + "\n")
    return 0


def _send(sender: Sender, messages: pl.DataFrame) -> int:
    if len(messages):
        sender.send(Segment(kind="plain", messages=messages))
    return len(messages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
