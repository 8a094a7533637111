"""How fast `lakehouse trace` is: bring events through the real pipeline, then time cold commands for each form of question.

Usage: python -m benchmarks.trace [--events 10000000]. The figures go to standard output and to
benchmarks/results/trace.json.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import confluent_kafka as ck

from benchmarks.ground import BENCHMARKS, Ground, ground
from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.ingest.bronze import ingest
from dagster_project.ingest.fetch import Limits
from dagster_project.lake.storage import Storage
from dagster_project.outbox.publish import publish
from dagster_project.refine.gold import compute
from dagster_project.refine.silver import refine
from dagster_project.topics import admin
from dagster_project.topics.derived import wanted

RESULT = BENCHMARKS / "results" / "trace.json"
# One event in a hundred is a newer version of an earlier one, one in a thousand breaks a rule, one in ten thousand is no JSON.
_AGAIN, _GATED, _POISON = 100, 1_000, 10_000
_BEFORE = 50  # how many events before it the earlier version was sent
_DAYS, _PARTITIONS = 30, 8
# The batches of a live stream that is at its limit, so that there are as many files as in such a lake.
_LIMITS = Limits(rows=100_000, bytes=64 << 20, seconds=60.0)
_HOUR = 3600.0
_RUNS = 5
# Odd numbers: by the number of an event they give another one for each, in no order that statistics could use.
_OF_KEY, _OF_ID, _WIDE = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, (1 << 64) - 1


def key_of(number: int) -> str:
    return _spelled(number * _OF_KEY & _WIDE)


def id_of(number: int) -> str:
    return _spelled(number * _OF_ID & _WIDE)


def _spelled(number: int) -> str:
    """As UUIDs are."""
    text = f"{number:016x}{number ^ _WIDE:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def produce(topic: str, servers: str, events: int) -> None:
    producer = ck.Producer(
        {
            "bootstrap.servers": servers,
            "linger.ms": 50,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 500_000,
        }
    )
    for number in range(events):
        identity = number - _BEFORE if number % _AGAIN == _AGAIN - 1 else number
        minute = identity * _DAYS * 1440 // events
        since = f"2026-01-{minute // 1440 + 1:02}T{minute // 60 % 24:02}:{minute % 60:02}"
        level = -1 if number % _GATED == 1 else identity % 1000
        region = "us" if identity % 2 else "eu"
        key = key_of(identity)
        at = "59" if identity < number else "00"
        payload = f'{{"id":"{key}","at":"{since}:{at}Z","since":"{since}:00Z","region":"{region}","level":{level}}}'
        if number % _POISON == 2:  # noqa: PLR2004 any remainder
            payload = payload[:-1]
        headers: list[tuple[str, str | bytes | None]] = [("correlation_id", id_of(number))]
        while True:
            try:
                producer.produce(topic, payload, key=key, partition=identity % _PARTITIONS, headers=headers)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def load(catalog: Catalog, *, servers: str, storage: Storage, events: int) -> dict[str, float]:
    """All of it to Gold and the dead-letter queue; how long each part took."""
    (dataset,), (mart,) = catalog.datasets, catalog.marts
    for step in admin.plan_all(wanted([dataset]), bootstrap_servers=servers):
        admin.apply(step, bootstrap_servers=servers)
    times: dict[str, float] = {}
    for name, work in (
        ("produce", lambda: produce(dataset.topic.name, servers, events)),
        (
            "ingest",
            lambda: list(
                ingest(dataset, bootstrap_servers=servers, storage=storage, limits=_LIMITS, seconds=_HOUR, warn=tell)
            ),
        ),
        ("refine", lambda: list(refine(dataset, storage=storage, keys=None))),
        ("compute", lambda: list(compute(mart, catalog=catalog, storage=storage, keys=None))),
        ("publish", lambda: publish(dataset, storage=storage, bootstrap_servers=servers)),
    ):
        began = time.monotonic()
        work()
        times[f"{name}_s"] = round(time.monotonic() - began, 1)
        tell(f"{name}: {times[f'{name}_s']} s")
    return times


def ask(what: str, variables: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, float]]:
    """One cold command, its start and all imports included: its answer, and what it took."""
    command = [sys.executable, "-m", "dagster_project.cli.main", "trace", what, "--json"]
    began = time.monotonic()
    child = subprocess.Popen(
        command,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=BENCHMARKS.parent,
    )
    assert child.stdout is not None
    answer = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)  # of this one child alone
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic() - began
    return json.loads(answer) if answer else {}, {"wall_s": wall, "cpu_s": usage.ru_utime + usage.ru_stime}


def questions(events: int, variables: Mapping[str, str]) -> Iterator[tuple[str, str, list[str]]]:
    """By name of its form, a question, and the places of the events that are its answer."""
    middle = events // 2 // _POISON * _POISON
    plain, newer, poison, gated = middle + 10, middle + _AGAIN - 1, middle + 2, middle + 1
    yield "key", f"id={key_of(plain)}", ["silver_rows"]
    yield "key with two versions", f"id={key_of(newer - _BEFORE)}", ["superseded", "silver_rows"]
    yield "correlation id", id_of(plain), ["silver_rows"]
    yield "unknown key", "id=nobody", []
    yield "unknown correlation id", "nobody", []
    for name, number, places in (
        ("place", plain, ["silver_rows"]),
        ("place of a quarantined row", gated, ["quarantined"]),
        ("place of poison, with its letter", poison, ["quarantined"]),
    ):
        (event,) = ask(id_of(number), variables)[0]["events"]
        yield name, f"{event['topic']}/{event['partition']}/{event['offset']}", places


def measure(events: int, variables: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """By form of a question, the medians of some runs.

    Raises:
        ValueError: an answer is not the one that it should be.
    """
    found: dict[str, dict[str, object]] = {}
    for name, what, places in questions(events, variables):
        runs = [ask(what, variables) for _ in range(_RUNS)]
        for answer, _ in runs:
            if [event["place"] for event in answer.get("events", [])] != places:
                raise ValueError(f"{what}: {answer}, expected {places}")
        figures = [figures for _, figures in runs]
        medians = {kind: round(statistics.median(one[kind] for one in figures), 2) for kind in figures[0]}
        found[name] = {"what": what, **medians, "walls_s": [round(one["wall_s"], 2) for one in figures]}
        tell(f"{name}: {medians['wall_s']} s")
    return found


def variables_of(place: Ground) -> dict[str, str]:
    return {
        "LAKEHOUSE_HOME": str(place.settings.home),
        "LAKEHOUSE_PROJECT": str(place.settings.project),
        "LAKEHOUSE_URI": place.settings.lake_uri,
        "KAFKA_BOOTSTRAP_SERVERS": place.servers,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time `lakehouse trace`.")
    parser.add_argument("--events", type=int, default=10_000_000)
    events: int = parser.parse_args().events
    with ground("journeys") as place:
        catalog = load_catalog(place.settings.contracts)
        times = load(catalog, servers=place.servers, storage=Storage.at(place.settings.lake_uri), events=events)
        busy = os.getloadavg()[0]
        found = measure(events, variables_of(place))
    result = {
        "command": f"python -m benchmarks.trace --events {events}",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "load_average": busy,
        "events": events,
        "load": times,
        "trace": found,
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
