"""What the suite tells: one line a fault, a table of the figures, and the same as JSON."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.markup import escape
from rich.table import Table

from tests.chaos.suite import Result

FIGURES = (
    "faults",
    "survived",
    "lost",
    "duplicated",
    "mismatched",
    "recovery_s_p50",
    "recovery_s_max",
    "kill_recovery_s_max",
    "failover_s_max",
)
# Runs that are killed with -9, at a named point or at any moment; the other recoveries include outages of all kinds.
KILLED_RUNS = ("kill-", "run-worker-killed")


def line(result: Result) -> str:
    if result.skipped:
        return f"[yellow]skipped[/]  {result.fault}: {escape(result.skipped)}"
    told = f"{result.fault} ({result.platform}): recovered in {result.recovery_s} s, {result.seconds} s in all"
    if result.failover_s is not None:
        told += f", failover {result.failover_s} s"
    if result.survived:
        return f"[green]survived[/] {told}"
    why = "\n    ".join([*([result.error] if result.error else []), *result.verdict.problems, *result.notes])
    return f"[red]FAILED[/]   {told}\n    {escape(why)}"


def summary(results: Sequence[Result], *, options: Mapping[str, Any]) -> dict[str, Any]:
    """The figures over all faults that were tried, and the faults one by one."""
    tried = [result for result in results if not result.skipped]
    recoveries = [result.recovery_s for result in tried if result.recovery_s is not None]
    kills = [result.recovery_s for result in tried if result.fault.startswith(KILLED_RUNS) and result.recovery_s]
    failovers = [result.failover_s for result in tried if result.failover_s is not None]
    return {
        "faults": len(tried),
        "survived": sum(result.survived for result in tried),
        "lost": sum(result.verdict.lost for result in tried),
        "duplicated": sum(result.verdict.duplicated for result in tried),
        "mismatched": sum(result.verdict.mismatched for result in tried),
        "recovery_s_p50": round(median(recoveries), 2) if recoveries else None,
        "recovery_s_max": max(recoveries, default=None),
        "kill_recovery_s_max": max(kills, default=None),
        "failover_s_max": max(failovers, default=None),
        "distinct": len({result.fault for result in tried}),
        "skipped": sorted({f"{result.fault}: {result.skipped}" for result in results if result.skipped}),
        "command": " ".join(["python -m tests.chaos", *sys.argv[1:]]),
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "seed": options["seed"],
        "platform": options["platform"] or "the one that suits each fault",
        "results": [asdict(result) for result in results],
    }


def to_json(found: Mapping[str, Any]) -> str:
    return json.dumps(found, indent=2)


def table(found: Mapping[str, Any]) -> Table:
    shown = Table(title="chaos", show_header=False)
    for name in FIGURES:
        shown.add_row(name, "–" if found[name] is None else str(found[name]))
    for reason in found["skipped"]:
        shown.add_row("skipped", escape(reason))
    return shown
