"""`python -m tests.ledger`: a million payments under `kill -9`; the ledger balances at each version, and nothing is missing."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dagster_project.services import kafka, registry
from dagster_project.settings import Settings
from tests.ledger.course import Course, judge, project


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    with tempfile.TemporaryDirectory(prefix="ledger-") as folder:
        home = Path(folder)
        settings = Settings(home=home, project=project(home), lake_uri=str(home / "lake"), bootstrap_servers="")
        try:
            servers = kafka.up(settings, brokers=1).bootstrap_servers
            url = registry.up(settings, report=console.print).url
            settings = replace(settings, bootstrap_servers=servers, schema_registry_url=url)
            course = Course.of(settings, payments=options.events, seconds=options.seconds, every=options.every)
            course.run(console.print)
            began = time.monotonic()
            verdict = judge(course)
        finally:
            local = replace(settings, bootstrap_servers="", schema_registry_url="")
            registry.down(local)
            kafka.down(local)
    last = verdict.versions[-1]
    found = {
        "payments": options.events,
        "payment_events": verdict.events,
        "killed_every_seconds": options.every,
        "kills": course.kills,
        "seconds": round(course.took, 1),
        "seconds_to_judge": round(time.monotonic() - began, 1),
        "published_versions": len(verdict.versions),
        "versions_that_balance": sum(not version.problems for version in verdict.versions),
        "postings": last.postings,
        "transactions": last.transactions,
        "batches_refused": verdict.refused,
        "problems": verdict.problems,
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if verdict.problems else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.ledger", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="payments; every fiftieth is refunded")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long the processes are killed")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills")
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
