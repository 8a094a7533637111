"""`python -m tests.retail`: one world, delivered in every way; each mart equals its oracle, and all of them each other."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track

from dagster_project.services import kafka
from dagster_project.services import registry as registry_service
from dagster_project.settings import PSEUDONYM_KEYS, REPOSITORY, Settings
from dagster_project.sources.retail.world import World
from tests.retail.deliveries import compare

_SECRET = "test:" + "a2V5" * 11


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: leave nothing behind
    os.environ[PSEUDONYM_KEYS] = _SECRET
    began = time.monotonic()
    world = World(orders=options.orders, seed=options.seed, days=options.days, refunds=0.05, chargebacks=0.02)
    with tempfile.TemporaryDirectory(prefix="retail-") as folder:
        home = Path(folder)
        settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
        try:
            servers = kafka.up(settings, brokers=1).bootstrap_servers
            registry_service.up(settings, report=console.print)
            compared = compare(
                world,
                home=home,
                servers=servers,
                registry=registry_service.registry_url(settings),
                batches=options.batches,
                track=lambda steps: track(steps, total=options.batches, description="in batches", console=console),
                report=console.print,
            )
        finally:
            registry_service.down(settings)
            kafka.down(settings)
    found = {**compared, "seconds": round(time.monotonic() - began, 1)}
    text = json.dumps(found, indent=2) + "\n"
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text)
    sys.stdout.write(text)
    return 1 if compared["problems"] else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.retail", description=__doc__)
    parser.add_argument("--orders", type=int, default=300, help="page views are 28 times as many")
    parser.add_argument("--days", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--out", type=Path, help="write the result here, too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
