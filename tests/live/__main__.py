"""`python -m tests.live`: retail by the clock under the daemon, one fault after the other, and a verdict on what was told."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from dagster_project.sources.retail.streams import STREAMS
from tests.live import course, judge
from tests.live.faults import Burst, faults
from tests.live.ground import ground
from tests.live.hook import hook
from tests.live.place import project, shop
from tests.live.store import store

# What the shop needs to make its events: a fixed part, and for each of them, on busy cores.
_MAKING_S, _MAKING_EACH_S = 20.0, 8e-5


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    folder = Path(tempfile.mkdtemp(prefix="live-"))
    console.print(f"in {folder}")
    found = _run(options, folder, console)
    if found["problems"]:
        console.print(f"{folder} stays, to be looked into")
    else:
        shutil.rmtree(folder)
    return judge.conclude(found, out=options.out)


def _run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, Any]:
    began, seconds = time.monotonic(), options.minutes * 60
    burst = Burst()
    chosen = [fault for fault in faults(burst) if any(word in fault.name for word in options.faults)]
    plan = course.slots(chosen, seconds=seconds)
    silent = next((slot for slot in plan if slot.fault.timed), None)
    project(home, datasets=STREAMS)
    with hook() as told, store() as stored, ground(home, store=stored, hook=told) as place:
        start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_MAKING_S + _MAKING_EACH_S * options.rate * seconds)
        outage = [f"--outage={silent.fault.scope}/{silent.begin_s}/{silent.end_s}"] if silent else []
        console.print(f"the stream begins at {start:%H:%M:%S}")
        producer = shop(
            place,
            "tests.live.shop",
            f"--start={start.isoformat()}",
            f"--seconds={seconds}",
            f"--rate={options.rate}",
            f"--seed={options.seed}",
            *outage,
        )
        try:
            struck = course.run(place, plan, start=start.timestamp(), report=console.print)
            output, _ = producer.communicate(timeout=seconds + course.PATIENCE_S)
        finally:
            producer.kill()
        assert producer.returncode == 0, (home / "shop.log").read_text()[-2_000:]
        took = time.time() - start.timestamp()
        sent = json.loads(output)
        console.print(f"sent: {sent}")
        drained = course.settle(place, struck, report=console.print)
        wrong_alerts = list(judge.alerts(place, struck, since=start))
        levels = judge.levels(place)
        accounts, unaccounted = judge.accounted(place)
        rows, other = judge.compared(place)
        problems = [
            *wrong_alerts,
            *levels.problems,
            *unaccounted,
            *judge.poison(place, burst),
            *other,
        ]
        requests = stored.requests
    return {
        "minutes": options.minutes,
        "events_per_s_wanted": options.rate,
        "events": sent,
        "events_per_s": round(sum(sent.values()) / took),
        "poison_sent": burst.sent,
        "faults": [_told(one, told.told, start.timestamp()) for one in struck],
        "drained_after_s": round(drained, 1),
        "objectives_compared": len(levels.said),
        "objectives": levels.said,
        "accounts": accounts,
        "mart_rows": rows,
        "store_requests": requests,
        "seconds": round(time.monotonic() - began, 1),
        "problems": problems,
    }


def _told(one: course.Struck, told: list[tuple[float, dict[str, Any]]], start: float) -> dict[str, Any]:
    over = [at for at, alert in told if (alert["alert"], alert["state"]) == (one.fault.alert, "resolved")]
    return {
        "fault": one.fault.name,
        "alert": one.fault.alert,
        "struck_s": round(one.struck_s, 1),
        "told_after_s": None if one.told_s is None else round(one.told_s - one.struck_s, 1),
        "mended_s": round(one.mended_s, 1),
        "over_after_s": round(over[0] - start - one.mended_s, 1) if over else None,
    }


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=2_000, help="events a second, of all streams together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--faults", nargs="*", default=[""], help="those whose name has one of these in it; by default all"
    )
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
