"""How fast `lakehouse verify` is: load a topic through the real pipeline, then time the command.

Usage: python -m benchmarks.verify [--events 10000000]. The figures go to standard output and to
benchmarks/results/verify.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time

import confluent_kafka as ck

from benchmarks.ground import BENCHMARKS, ground
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.storage import Storage
from dagster_project.refine.silver import refine
from dagster_project.topics import admin
from dagster_project.topics.derived import wanted

RESULT = BENCHMARKS / "results" / "verify.json"
# One event in a hundred comes twice, one in a thousand breaks a rule, one in ten thousand is no JSON.
_TWICE, _GATED, _POISON = 100, 1_000, 10_000
_DAYS = 5
# Large batches: few commits, as a backlog gives them.
_LIMITS = Limits(rows=500_000, bytes=256 << 20, seconds=60.0)
_HOUR = 3600.0


def produce(topic: str, servers: str, events: int) -> None:
    producer = ck.Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
        }
    )
    template = b'{"id":%d,"at":"2026-01-%02dT%02d:%02d:00Z","region":"%s","level":%d}'
    for number in range(events):
        identity = number - 1 if number % _TWICE == _TWICE - 1 else number
        minute = identity // 7
        values = (identity, identity % _DAYS + 1, minute // 60 % 24, minute % 60, b"us" if identity % 2 else b"eu")
        level = -1 if number % _GATED == 1 else identity % 1000
        payload = b"{" if number % _POISON == 2 else template % (*values, level)  # noqa: PLR2004 any remainder
        while True:
            try:
                producer.produce(topic, payload, partition=identity % 8)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def load(dataset: Dataset, *, servers: str, storage: Storage, events: int) -> dict[str, float]:
    for step in admin.plan_all(wanted([dataset]), bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    times: dict[str, float] = {}
    for name, work in (
        ("produce", lambda: produce(dataset.topic.name, servers, events)),
        (
            "ingest",
            lambda: list(
                ingest(
                    dataset,
                    bootstrap_servers=servers,
                    storage=storage,
                    limits=_LIMITS,
                    seconds=_HOUR,
                    warn=tell,
                )
            ),
        ),
        ("refine", lambda: list(refine(dataset, storage=storage, keys=None))),
    ):
        began = time.monotonic()
        work()
        times[f"{name}_s"] = round(time.monotonic() - began, 1)
        tell(f"{name}: {times[f'{name}_s']} s")
    return times


def measure(variables: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-m", "dagster_project.cli.main", "verify", "--json"]
    began = time.monotonic()
    # Read as a user would have it: its start and all imports count.
    child = subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.PIPE, cwd=BENCHMARKS.parent)
    assert child.stdout is not None
    answer = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)  # of this one child alone
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    (found,) = json.loads(answer)
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_rss_mib": usage.ru_maxrss // 1024,
        "account": {name: value for name, value in found.items() if name != "partitions"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time `lakehouse verify`.")
    parser.add_argument("--events", type=int, default=10_000_000)
    events: int = parser.parse_args().events
    with ground("readings") as place:
        (dataset,) = load_catalog(place.settings.contracts).datasets
        storage = Storage.at(place.settings.lake_uri)
        times = load(dataset, servers=place.servers, storage=storage, events=events)
        variables = {
            "LAKEHOUSE_HOME": str(place.settings.home),
            "LAKEHOUSE_PROJECT": str(place.settings.project),
            "LAKEHOUSE_URI": place.settings.lake_uri,
            "KAFKA_BOOTSTRAP_SERVERS": place.servers,
        }
        runs = [measure(variables) for _ in range(2)]
    result = {
        "command": f"python -m benchmarks.verify --events {events}",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "events": events,
        "load": times,
        "verify": runs,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
