"""`python -m benchmarks.bench`: the platform beside the floor and its peers, and its own figures, each after a verdict.

Every table that a system writes is compared with the oracle first. One difference, and no figure is printed and the exit
code is 1. Timings are shown beside their bounds and fail nothing: they depend on the machine.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.compare import compare
from benchmarks.figures import Outcome
from benchmarks.ground import BENCHMARKS, Ground, ground
from benchmarks.result import Result, table
from benchmarks.scenarios import commits, growth, incremental, latency, tick
from benchmarks.show import Show
from benchmarks.sizes import FULL, QUICK, Sizes
from benchmarks.systems import OURS, SYSTEMS
from dagster_project.errors import LakehouseError

Scenario = Callable[[Ground, Sizes, Show], Outcome]
_SCENARIOS: Mapping[str, Scenario] = {
    "growth": growth.run,
    "incremental": incremental.run,
    "tick": tick.run,
    "commits": commits.run,
}
_LATENCY = "latency"
_NAMES = (*(system.name for system in SYSTEMS), *_SCENARIOS, _LATENCY)


def main(arguments: Sequence[str]) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    sizes = QUICK if options.quick else FULL
    sizes = replace(sizes, events=options.events or sizes.events, rounds=options.rounds or sizes.rounds)
    out: Path = options.out or BENCHMARKS / "results" / ("quick.json" if options.quick else "latest.json")
    command = " ".join(["python -m benchmarks.bench", *arguments])
    # Parts may be measured one by one: what the file says of the others stays.
    result = Result.begin(out, command=command, sizes=sizes, keep=bool(options.only))
    show = Show()
    chosen = set(options.only or _NAMES)
    # Ratios are to ours, and the stream is as fast as ours allows.
    if chosen & {system.name for system in SYSTEMS} or (_LATENCY in chosen and OURS.name not in result.systems):
        chosen.add(OURS.name)
    try:
        with ground("retail") as place:
            _measure(chosen, place, sizes, show, result)
    except LakehouseError as error:
        result.fail(error)
        show.say(f"error: {error}")
        return 1
    result.finish()
    if options.json:
        sys.stdout.write(out.read_text(encoding="utf-8"))
    else:
        Console().print(table(result))
    return 0


def _measure(chosen: set[str], place: Ground, sizes: Sizes, show: Show, result: Result) -> None:
    systems = [system for system in SYSTEMS if system.name in chosen]
    if systems:
        compare(systems, place, sizes, show, result)
    for name, run in _SCENARIOS.items():
        if name in chosen:
            result.add(name, run(place, sizes, show))
    if _LATENCY in chosen:
        rate = sizes.rate_share * result.systems[OURS.name]["events_per_s"]
        result.add(_LATENCY, latency.run(place, sizes, show, rate=rate))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one round: a look within minutes")
    parser.add_argument("--events", type=int, default=0, help="of the systems side by side")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=[], metavar="NAME", help=", ".join(_NAMES))
    parser.add_argument("--out", type=Path, help="the result; by default benchmarks/results/latest.json, or quick.json")
    parser.add_argument("--json", action="store_true", help="print the result instead of the table")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
