"""`python -m tests.evolution`: a contract gains a column and a major version under load, and nobody notices."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from dagster_project.services import kafka
from dagster_project.settings import REPOSITORY, Settings
from tests.evolution.course import check_against_what_was_sent, evolve
from tests.evolution.scene import scene_of

# Events of one key: many enough that most are superseded.
_VERSIONS = 50


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="evolution-") as folder:
        home = Path(folder)
        settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
        try:
            servers = kafka.up(settings, brokers=1).bootstrap_servers
            scene = scene_of(home, servers=servers, keys=max(options.events // _VERSIONS, 1))
            course = evolve(scene, events=options.events, report=console.print)
            check_against_what_was_sent(scene)
            accounts = scene.accounts(payloads=True)
        finally:
            kafka.down(settings)
    problems = [*course.reader.problems, *course.audited, *(line for item in accounts for line in item.problems)]
    found = {
        "events": scene.sent,
        "seconds": round(time.monotonic() - began, 1),
        "reads": course.reader.reads,
        "accounts_taken": course.accounts,
        "versions_served": sorted(course.reader.served),
        "problems": problems,
        "unaccounted": {item.dataset: item.unaccounted for item in accounts},
        "rows": {item.dataset: item.silver_rows for item in accounts},
        "versions_are_the_same": course.comparison.same,
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    good = course.comparison.same and not problems and course.reader.served == {1, 2}
    if not good:
        console.print(asdict(course.comparison))
    return 0 if good else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.evolution", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
