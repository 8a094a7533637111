"""`python -m tests.production`: orders and payments by the clock through the production profile, with everything killed once.

Secure Kafka of three brokers, a store, a cache, a registry and PostgreSQL behind TLS, and the processes of deploy/production.
A broker, the code server, the daemon, PostgreSQL and a run are killed one after the other. In the end every event is accounted
for, Silver and every mart are those of the oracle, no run and no slot is stuck, every process ends when it is asked to, and no
secret is anywhere but where it belongs.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tests.live import course, judge
from tests.live.faults import wait
from tests.live.place import project, shop
from tests.production.ground import Ground, ground
from tests.production.leaks import Commands, Leak, commands, database, files, leaks
from tests.production.runs import Runs
from tests.production.services.store import BUCKET

STREAMS = ("orders", "payments")
# What the shop needs to make its events, as in the live run, and some more for the processes that share the machine.
_MAKING_S, _MAKING_EACH_S = 30.0, 1.2e-4
# How long a broker and the database are away.
_AWAY_S = 10.0
# A run may take 300 s, and monitoring some seconds to see that it is gone.
_RUNS_S = 420.0
# What the stream left behind. Where the machine does not keep up, this is the time that it needs for the rest.
_DRAINED_S = 3_600.0
_LOOK_S = 0.5
# Of three: one that is not the first that clients ask.
_BROKER = 2


@dataclass(frozen=True, kw_only=True)
class Killed:
    """Attributes: `at_s`: since the start of the stream; `back_s`: until it, or another one, was at work."""

    what: str
    at_s: float
    back_s: float


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    folder = Path(tempfile.mkdtemp(prefix="production-"))
    console.print(f"in {folder}")
    found = _run(options, folder, console)
    if found["problems"]:
        console.print(f"{folder} stays, to be looked into")
    else:
        shutil.rmtree(folder)
    return judge.conclude(found, out=options.out)


def _run(options: argparse.Namespace, home: Path, console: Console) -> dict[str, Any]:
    began, seconds = time.monotonic(), options.minutes * 60
    project(home, datasets=STREAMS)
    with commands() as seen, ground(home) as place, Runs.of(place.settings) as runs:
        console.print(f"{time.monotonic() - began:.0f} s: the platform runs")
        early = _MAKING_S + _MAKING_EACH_S * options.rate * seconds
        start = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=early)
        producer = shop(
            place,
            "tests.live.shop",
            f"--start={start.isoformat()}",
            f"--seconds={seconds}",
            f"--rate={options.rate}",
            f"--seed={options.seed}",
            variables=place.producer,
        )
        try:
            killed = _course(place, runs, start=start.timestamp(), seconds=seconds, console=console)
            output, _ = producer.communicate(timeout=seconds + course.PATIENCE_S)
        finally:
            producer.kill()
        assert producer.returncode == 0, (home / "shop.log").read_text()[-2_000:]
        took = time.time() - start.timestamp()
        sent = json.loads(output)
        console.print(f"sent within {took:.0f} s: {sent}")
        drained = time.monotonic()
        assert wait(_DRAINED_S, lambda: course.drained(place), check=place.check), "the backlog is never drained"
        drained = time.monotonic() - drained
        console.print(f"drained within {drained:.0f} s")
        wait(_RUNS_S, runs.idle, check=place.check)
        ended, stuck = runs.ended(), list(runs.stuck())
        console.print(f"runs: {ended}")
        accounts, unaccounted = judge.accounted(place)
        rows, other = judge.compared(place)
        console.print(f"{len(unaccounted)} offsets or tables without account, {len(other)} tables unlike the oracle")
        stopped = place.stop()
        unstopped = [f"{name} ended with {code} when it was asked to" for name, code in stopped.items() if code]
        console.print(f"stopped: {stopped}")
        found = sorted(set(map(str, _leaks(place, seen))))
        console.print(f"{len(place.values)} secrets looked for, {len(found)} leaks")
        unkept = [] if _keeps_logs(place) else ["the store has no compute logs"]
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "minutes": options.minutes,
        "events_per_s_wanted": options.rate,
        "events": sent,
        "events_per_s": round(sum(sent.values()) / took),
        "killed": [asdict(one) for one in killed],
        "drained_after_s": round(drained, 1),
        "runs": ended,
        "accounts": accounts,
        "mart_rows": rows,
        "stopped_with": stopped,
        "secrets_looked_for": sorted(place.values),
        "command_lines_seen": len(seen.seen),
        "seconds": round(time.monotonic() - began, 1),
        "problems": [*unaccounted, *other, *stuck, *unstopped, *unkept, *found],
    }


def _course(place: Ground, runs: Runs, *, start: float, seconds: float, console: Console) -> list[Killed]:
    """Kill one after the other, each with the same time around it, and tell how far the stream is."""
    victims: Sequence[tuple[str, Callable[[], float]]] = (
        ("broker", lambda: _away(place, lambda: place.kafka.kill(_BROKER), lambda: place.kafka.restart(_BROKER))),
        ("code server", lambda: place.kill("code-server")),
        ("daemon", lambda: place.kill("daemon")),
        ("PostgreSQL", lambda: _away(place, place.database.kill, place.database.start)),
        ("run", lambda: runs.kill_one(check=place.check)),
    )
    found: list[Killed] = []
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.completed:.0f} s"))
    with Progress(*columns, console=console) as bars:
        bar = bars.add_task("the stream is made", total=seconds)

        def until(moment: float) -> None:
            while (now := time.time() - start) < moment:
                place.check()
                bars.update(bar, completed=max(0.0, now))
                time.sleep(min(_LOOK_S, moment - now))

        until(0.0)
        bars.update(bar, description="the stream")
        for turn, (what, kill) in enumerate(victims, start=1):
            until(seconds * turn / (len(victims) + 1))
            at_s = time.time() - start
            bars.update(bar, description=f"{what} killed")
            back_s = kill()
            found.append(Killed(what=what, at_s=round(at_s, 1), back_s=round(back_s, 1)))
            console.print(f"{at_s:5.0f} s: {what} killed, back after {back_s:.1f} s")
            bars.update(bar, description="the stream")
        until(seconds)
    return found


def _away(place: Ground, kill: Callable[[], object], start: Callable[[], object]) -> float:
    """Kill something, which is away for a while before it is started again."""
    began = time.monotonic()
    kill()
    wait(_AWAY_S, check=place.check)
    start()
    return time.monotonic() - began


def _keeps_logs(place: Ground) -> bool:
    found = place.store.client().list_objects_v2(Bucket=BUCKET, Prefix="compute-logs/", MaxKeys=1)
    return bool(found.get("KeyCount"))


def _leaks(place: Ground, seen: Commands) -> Iterator[Leak]:
    """Each secret that is anywhere but where it belongs."""
    services = [place.home / name for name in ("kafka", "store", "cache", "database", "registry")]
    # Of the services their logs and the store's objects are ours to answer for; what they know their users by is theirs.
    logs = (log for folder in services for log in folder.rglob("*.log") if "data" not in log.parts)
    yield from leaks(place.values, files(place.home, but=[*services, place.secrets]))
    yield from leaks(place.values, ((str(log), log.read_bytes()) for log in logs))
    yield from leaks(place.values, files(place.home / "store" / "objects"))
    yield from leaks(place.values, database(place.variables["DAGSTER_POSTGRES_URL"]))
    yield from leaks(place.values, seen.places())


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.production", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, default=2_000, help="events a second, of both streams together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
