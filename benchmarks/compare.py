"""The systems side by side: round by round, one after the other, so that a machine's moods befall them all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.figures import Outcome, rounded
from benchmarks.ground import Ground
from benchmarks.measure import Measured
from benchmarks.preload import Loaded, create, fill
from benchmarks.result import Result
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from benchmarks.systems import OURS, PEERS_PYTHON, System, drain
from benchmarks.workload import Workload

_PEERS = ("spark", "dlt", "handwritten")


def compare(systems: Sequence[System], ground: Ground, sizes: Sizes, show: Show, result: Result) -> None:
    """Drain the same events with each system in each round; the result has each drain as soon as it is judged."""
    there = [system for system in systems if system.is_installed]
    for system in systems:
        if system not in there:
            result.skip(system.name, f"{PEERS_PYTHON.parent.parent.name} is not there; run make bench-setup")
            show.say(f"{system.name}: not installed; run make bench-setup")
    numbers = {system.name: min(sizes.events, sizes.caps.get(system.name, sizes.events)) for system in there}
    topics = {
        events: load(events, ground, show, events_file=events == sizes.events) for events in set(numbers.values())
    }
    rounds: dict[str, list[Measured]] = {system.name: [] for system in there}
    for _ in range(sizes.rounds):
        for system in there:
            loaded = topics[numbers[system.name]]
            measured = drain(system, loaded, ground)
            rounds[system.name].append(measured)
            result.system(system.name, summary(rounds[system.name], loaded))
            show.say(_line(system.name, measured, loaded))
    result.add("systems", figures(rounds, numbers))


def load(events: int, ground: Ground, show: Show, *, events_file: bool) -> Loaded:
    topic = f"orders-{events}"
    create(topic, servers=ground.servers)
    with show.bar(f"sending {events:,} events", events) as report:
        return fill(
            Workload(events=events),
            servers=ground.servers,
            topic=topic,
            folder=ground.home / topic,
            report=report,
            events_file=events_file,
        )


def figures(rounds: Mapping[str, Sequence[Measured]], events: Mapping[str, int]) -> Outcome:
    """Ratios round by round: what was measured together is compared, and of that the median."""
    ours, floor = rounds.get(OURS.name, ()), rounds.get("floor", ())
    cpu = {name: [one.cpu_s / events[name] for one in found] for name, found in rounds.items()}
    samples: dict[str, list[float]] = {}
    if ours and floor:
        samples["ratio_to_floor"] = _ratios(cpu["floor"], cpu[OURS.name])
        samples["wall_ratio_to_floor"] = _ratios((one.wall_s for one in floor), (one.wall_s for one in ours))
    for peer in _PEERS:
        if ours and rounds.get(peer):
            samples[f"core_ratio_to_{peer}"] = _ratios(cpu[peer], cpu[OURS.name])
    return Outcome.of(samples, details={})


def summary(rounds: Sequence[Measured], loaded: Loaded) -> dict[str, Any]:
    """What the result says of one system."""
    return {
        "events": loaded.events,
        "events_per_s": round(loaded.events / median(one.wall_s for one in rounds)),
        "cpu_us_per_event": rounded(median(one.cpu_s for one in rounds) / loaded.events * 1e6),
        "events_per_core_s": round(loaded.events / median(one.cpu_s for one in rounds)),
        "peak_rss_mib": round(max(one.peak_rss_mib for one in rounds)),
        "rounds": [_short(one) for one in rounds],
    }


def _short(measured: Measured) -> dict[str, Any]:
    return {name: rounded(value) if isinstance(value, float) else value for name, value in asdict(measured).items()}


def _ratios(above: Iterable[float], below: Iterable[float]) -> list[float]:
    return [one / other for one, other in zip(above, below, strict=True)]


def _line(name: str, measured: Measured, loaded: Loaded) -> str:
    return (
        f"{name}: {loaded.events:,} events in {measured.wall_s:.1f} s, {measured.cpu_s / loaded.events * 1e6:.2f} µs of CPU "
        f"each, {measured.peak_rss_mib:,.0f} MiB; equal to the oracle"
    )
