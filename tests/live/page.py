"""`python -m tests.live.page`: what the last live run and the last peak have found, as tables of docs/live.md."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dagster_project.settings import REPOSITORY

PAGE = REPOSITORY / "docs" / "live.md"
_RESULTS = REPOSITORY / "benchmarks" / "results"


def written(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with the block of this name filled anew."""
    block = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    text = "".join(f"{line}\n" for line in lines)
    made, count = block.subn(lambda _: text, page)
    assert count == 1, f"docs/live.md has no block {name}"
    return made


def live(found: Mapping[str, Any]) -> Iterator[str]:
    """What was struck, told and over."""
    yield "| fault | its alert | told of after | over after it was mended |"
    yield "| --- | --- | ---: | ---: |"
    for one in found["faults"]:
        yield (
            f"| {one['fault']} | `{one['alert']}` | {_seconds(one['told_after_s'])} | {_seconds(one['over_after_s'])} |"
        )
    events, rows = sum(found["events"].values()), sum(found["mart_rows"].values())
    yield ""
    yield (
        f"{found['minutes']:g} minutes, {events:,} events, that is {events / found['minutes'] / 60:,.0f} for each second; sent with "
        f"the tail of late ones, {found['events_per_s']:,} a second; {found['poison_sent']:,} broken messages besides. {found['objectives_compared']} objectives compared with the records, "
        f"{len(found['mart_rows'])} marts of {rows:,} rows with their oracles; the backlog was gone "
        f"{found['drained_after_s']:.0f} s after the last event. {_problems(found)}"
    )


def peak(found: Mapping[str, Any]) -> Iterator[str]:
    """How long everything took, before, meanwhile and afterwards."""
    yield "| Kafka to Gold, seconds | half of the events | 95 in 100 | 99 in 100 |"
    yield "| --- | ---: | ---: | ---: |"
    rate, most = found["events_per_s"], found["peak_events_per_s"]
    for name, label in (
        ("before", f"before, {rate:,.0f} a second"),
        ("peak", f"{found['peak_seconds']:.0f} s of {most:,.0f} a second"),
        ("after", f"afterwards, {rate:,.0f} a second"),
    ):
        took = found["latency_s"][name]
        yield f"| {label} | {took['p50']} | {took['p95']} | {took['p99']} |"
    broken = {name: after for name, after in found["slo_recovery_s"].items() if after is not None}
    recovery = (
        "No objective of lag or latency was broken at any moment."
        if not broken
        else "Seconds after the peak until an objective held again: "
        + ", ".join(f"`{name}` {after:g}" for name, after in broken.items())
        + "."
    )
    yield ""
    yield (
        f"{found['sent']:,} events; at most {found['most_lag_records']:,} of them waited in Kafka, and "
        f"{_seconds(found['backlog_drained_s'])} after the peak there were no more than before it. {recovery} {_problems(found)}"
    )


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.0f} s"


def _problems(found: Mapping[str, Any]) -> str:
    problems = found["problems"]
    return f"**{len(problems)} problems**: {'; '.join(problems)}" if problems else "No problems."


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, lines in (("live", live), ("peak", peak)):
        path: Path = _RESULTS / f"{name}.json"
        if path.exists():
            page = written(page, name, lines(json.loads(path.read_text(encoding="utf-8"))))
            sys.stdout.write(f"{name}: written\n")
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
