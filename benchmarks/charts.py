"""`python -m benchmarks.charts`: docs/performance.md and its charts, from benchmarks/results/latest.json."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.ground import BENCHMARKS
from benchmarks.page import TITLES, ordered, page
from benchmarks.svg import Bar, bars

_RESULT = BENCHMARKS / "results" / "latest.json"
_DOCS = BENCHMARKS.parent / "docs"


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description=__doc__)
    parser.add_argument("--result", type=Path, default=_RESULT)
    parser.add_argument("--docs", type=Path, default=_DOCS)
    options = parser.parse_args(arguments)
    result: dict[str, Any] = json.loads(options.result.read_text(encoding="utf-8"))
    if result["verdict"] != "equal":
        sys.stderr.write(f"{options.result}: the verdict is {result['verdict']!r}, so there is nothing to show\n")
        return 1
    images: Path = options.docs / "images"
    images.mkdir(parents=True, exist_ok=True)
    drawn = charts(result)
    for name, text in drawn.items():
        (images / f"{name}.svg").write_text(text, encoding="utf-8")
    (options.docs / "performance.md").write_text(page(result, list(drawn)), encoding="utf-8")
    return 0


def charts(result: Mapping[str, Any]) -> dict[str, str]:
    """SVG by file name, of what the result has."""
    systems, details = result["systems"], result["details"]
    drawn: dict[str, str] = {}
    if systems:
        drawn["bench-throughput"] = bars(
            "Events for a second of one core",
            [_bar(name, one["events_per_core_s"], f"{one['events_per_core_s']:,}") for name, one in ordered(systems)],
            unit="Kafka to Gold, whole process tree; more is better",
        )
        drawn["bench-memory"] = bars(
            "Memory at the most",
            [_bar(name, one["peak_rss_mib"], f"{one['peak_rss_mib']:,} MiB") for name, one in ordered(systems)],
            unit="sum over the process tree; less is better",
        )
    if (found := details.get("incremental")) is not None:
        touch, anew = (sorted(found[name])[len(found[name]) // 2] for name in ("touch_cpu_s", "anew_cpu_s"))
        drawn["bench-incremental"] = bars(
            f"One of {found['table_partitions']} table partitions has changed",
            [
                Bar(name="only what changed", value=touch, text=f"{touch:.2f} s", ours=True),
                Bar(name="all anew", value=anew, text=f"{anew:.2f} s"),
            ],
            unit="CPU seconds from Bronze to Gold",
        )
    return drawn


def _bar(name: str, value: float, text: str) -> Bar:
    return Bar(name=TITLES[name], value=value, text=text, ours=name == "ours")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
