"""`python -m tests.chaos`: break the platform in every way it can break, and compare the tables with the oracle."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos import report, suite
from tests.chaos.fault import Fault, Kind
from tests.chaos.faults import FAULTS
from tests.chaos.world import world

KINDS: tuple[Kind, ...] = ("processes", "daemon")


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    rng = Random(options.seed)
    chosen = _chosen(options, rng)
    console = Console(stderr=True)
    results: list[suite.Result] = []
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, bar, world(Path(folder)) as ground:
        task = bar.add_task("chaos", total=len(chosen))
        for kind in KINDS:
            mine = [fault for fault in chosen if (options.platform or fault.platform) == kind]
            for result in suite.stage(mine, ground, kind=kind, rng=rng):
                results.append(result)
                bar.console.print(report.line(result))
                bar.advance(task)
                if options.out:  # so that a run which is broken off has told what it saw
                    options.out.parent.mkdir(parents=True, exist_ok=True)
                    options.out.write_text(report.to_json(report.summary(results, options=vars(options))) + "\n")
    summary = report.summary(results, options=vars(options))
    if options.json:
        sys.stdout.write(report.to_json(summary) + "\n")
    else:
        Console().print(report.table(summary))
    return 0 if summary["survived"] == summary["faults"] else 1


def _chosen(options: argparse.Namespace, rng: Random) -> list[Fault]:
    """Faults in a seeded order; each of them once before any comes twice."""
    if options.only:
        named = [fault for name, fault in FAULTS.items() if any(word in name for word in options.only)]
    else:
        named = list(FAULTS.values())
        rng.shuffle(named)
    count = options.faults or len(named)
    return list(islice(cycle(named), count))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=0, help="how many; by default each once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[], help="faults whose name has one of these in it")
    parser.add_argument("--platform", choices=KINDS, help="for all faults, instead of the one that suits each")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
