"""Whether an event of a large backlog costs as much as one of a small one, and how much memory the large one takes."""

from __future__ import annotations

from benchmarks.figures import Outcome
from benchmarks.ground import Ground
from benchmarks.measure import Measured
from benchmarks.preload import Loaded, create, fill
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from benchmarks.systems import OURS, drain
from benchmarks.workload import Workload

GIB = 1024.0  # in MiB


def run(ground: Ground, sizes: Sizes, show: Show) -> Outcome:
    small, large = (_load(events, ground, show) for events in (sizes.small, sizes.large))
    # The small one before and after, so that a machine which slows down on the way is seen as spread.
    before, middle, after = (_drained(loaded, ground, show) for loaded in (small, large, small))
    costs = [_nanoseconds(measured, small) for measured in (before, after)]
    cost = _nanoseconds(middle, large)
    return Outcome.of(
        {"growth": [cost / small_cost for small_cost in costs], "peak_rss_gib": [middle.peak_rss_mib / GIB]},
        details={
            "events": [sizes.small, sizes.large],
            "cpu_ns_per_event": [round(sum(costs) / len(costs)), round(cost)],
            "peak_rss_mib": [round(max(before.peak_rss_mib, after.peak_rss_mib)), round(middle.peak_rss_mib)],
            "events_per_s": [
                round(small.events / min(before.wall_s, after.wall_s)),
                round(large.events / middle.wall_s),
            ],
        },
    )


def _load(events: int, ground: Ground, show: Show) -> Loaded:
    topic = f"growth-{events}"
    create(topic, servers=ground.servers)
    with show.bar(f"sending {events:,} events", events) as report:
        workload = Workload(events=events)
        return fill(workload, servers=ground.servers, topic=topic, folder=ground.home / topic, report=report)


def _drained(loaded: Loaded, ground: Ground, show: Show) -> Measured:
    measured = drain(OURS, loaded, ground)
    show.say(
        f"growth: {loaded.events:,} events in {measured.wall_s:.1f} s, {_nanoseconds(measured, loaded):,.0f} ns of CPU each, "
        f"{measured.peak_rss_mib:,.0f} MiB"
    )
    return measured


def _nanoseconds(measured: Measured, loaded: Loaded) -> float:
    return measured.cpu_s / loaded.events * 1e9
