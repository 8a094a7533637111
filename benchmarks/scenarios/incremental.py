"""What a change of one table partition costs beside computing all of them anew, on the same tables, one after the other."""

from __future__ import annotations

import datetime as dt

from benchmarks.figures import Outcome
from benchmarks.ground import Ground
from benchmarks.pipeline import Pipeline
from benchmarks.preload import Loaded, create, fill
from benchmarks.shop import REGIONS
from benchmarks.show import Show
from benchmarks.sizes import Sizes
from benchmarks.systems import require
from benchmarks.verdict import judge
from benchmarks.workload import Workload

_TOPIC = "incremental"
_DAYS = 30
# Late orders of one day and region: a twentieth of what a table partition has on average, in the full benchmark.
_TOUCH = 1_000
# Seeds from here on, so that no touch repeats orders of the history.
_SEED = 100


def run(ground: Ground, sizes: Sizes, show: Show) -> Outcome:
    uri = ground.home / "incremental-lake"
    pipeline = Pipeline.at(uri, servers=ground.servers, topic=_TOPIC)
    create(_TOPIC, servers=ground.servers)
    history = Workload(events=sizes.history, days=_DAYS)
    loaded = [_filled(history, 0, ground, show)]
    pipeline.ingest()
    pipeline.publish()
    require("incremental", judge(uri, [one.oracle for one in loaded]))
    touches: list[float] = []
    anew: list[float] = []
    for number in range(1, sizes.touches + 1):
        day = history.first_day + dt.timedelta(days=_DAYS * number // (sizes.touches + 1))
        region = list(REGIONS)[number % len(REGIONS)]
        touch = Workload(events=_TOUCH, seed=_SEED + number, first_day=day, days=1, regions=(region,))
        loaded.append(_filled(touch, number, ground, show))
        pipeline.ingest()
        touches.append(pipeline.publish())
        anew.append(pipeline.publish(afresh=True))
        require("incremental", judge(uri, [one.oracle for one in loaded]))
        show.say(f"incremental: {day} {region} {touches[-1]:.2f} s of CPU, all anew {anew[-1]:.2f} s")
    return Outcome.of(
        {"incremental_share": [touch / full for touch, full in zip(touches, anew, strict=True)]},
        details={
            "events": sizes.history,
            "table_partitions": _DAYS * len(REGIONS),
            "events_of_a_touch": _TOUCH,
            "touch_cpu_s": [round(seconds, 3) for seconds in touches],
            "anew_cpu_s": [round(seconds, 3) for seconds in anew],
        },
    )


def _filled(workload: Workload, number: int, ground: Ground, show: Show) -> Loaded:
    folder = ground.home / f"incremental-{number}"
    with show.bar(f"sending {workload.events:,} events", workload.events) as report:
        return fill(workload, servers=ground.servers, topic=_TOPIC, folder=folder, report=report)
