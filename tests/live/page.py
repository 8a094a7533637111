"""`python -m tests.live.page`: what the last live run, peak and production run have found, as tables of their pages."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from dagster_project.settings import REPOSITORY

_DOCS = REPOSITORY / "docs"
_RESULTS = REPOSITORY / "benchmarks" / "results"


def written(page: str, name: str, lines: Iterator[str]) -> str:
    """The page with the block of this name filled anew."""
    block = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    text = "".join(f"{line}\n" for line in lines)
    made, count = block.subn(lambda _: text, page)
    assert count == 1, f"the page has no block {name}"
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


def production(found: Mapping[str, Any]) -> Iterator[str]:
    """What was killed, and what became of the events."""
    yield "| killed | at | at work again, itself or another one, after |"
    yield "| --- | ---: | ---: |"
    for one in found["killed"]:
        yield f"| {one['what']} | {_seconds(one['at_s'])} | {one['back_s']:.1f} s |"
    events, rows = sum(found["events"].values()), sum(found["mart_rows"].values())
    runs = ", ".join(f"{count:,} {status}" for status, count in sorted(found["runs"].items()))
    yield ""
    yield (
        f"{found['minutes']:g} minutes of orders and payments, {events:,} events, {found['events_per_s']:,} a second of "
        f"{found['events_per_s_wanted']:,.0f} that were wanted; the backlog was gone {found['drained_after_s']:.0f} s after the "
        f"last event. Silver and {len(found['mart_rows'])} marts of {rows:,} rows compared with their oracles. Runs: {runs}. "
        f"{len(found['secrets_looked_for'])} secrets looked for. {_problems(found)}"
    )


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.0f} s"


def _problems(found: Mapping[str, Any]) -> str:
    problems = found["problems"]
    return f"**{len(problems)} problems**: {'; '.join(problems)}" if problems else "No problems."


def main() -> None:
    for name, page, lines in (("live", "live", live), ("peak", "live", peak), ("production", "production", production)):
        result, path = _RESULTS / f"{name}.json", _DOCS / f"{page}.md"
        if result.exists():
            found = json.loads(result.read_text(encoding="utf-8"))
            path.write_text(written(path.read_text(encoding="utf-8"), name, lines(found)), encoding="utf-8")
            sys.stdout.write(f"{name}: written\n")


if __name__ == "__main__":
    main()
