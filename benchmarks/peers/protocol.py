"""The handshake of a system with whoever measures it, so that starting up is measured for nobody.

A system sets itself up and prints `ready`; it waits for `go`, drains the topic and prints one line of JSON; then it
lives on until its standard input closes, so that the processor time of its whole process tree can still be read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

READY, GO = "ready", "go"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to drain, and where to.

    Attributes:
        end: by Kafka partition, the offset to drain to.
        out: an empty folder of this system alone, for its tables and whatever else it writes.
        events_file: the topic's payloads, one a line, for a system that reads no Kafka.
    """

    servers: str
    topic: str
    end: Mapping[int, int]
    out: Path
    events_file: Path | None

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> Task:
        parser = argparse.ArgumentParser()
        for name in ("--servers", "--topic", "--out"):
            parser.add_argument(name, required=True)
        parser.add_argument("--end", required=True, type=Path)
        parser.add_argument("--events-file", type=Path)
        found = parser.parse_args(arguments)
        end: dict[str, int] = json.loads(found.end.read_text(encoding="utf-8"))
        return cls(
            servers=found.servers,
            topic=found.topic,
            end={int(partition): offset for partition, offset in end.items()},
            out=Path(found.out).resolve(),
            events_file=found.events_file,
        )


# Drains the topic, and tells how many rows each of its tables has.
Drain = Callable[[], Mapping[str, int]]


def serve(prepare: Callable[[Task], Drain]) -> None:
    """Run one system as the main program.

    Args:
        prepare: all that comes before `ready`; must not read from the topic.
    """
    # Libraries and child processes that print would break the lines of the handshake: they get standard error.
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        drain = prepare(Task.from_arguments(sys.argv[1:]))
        print(READY, file=answers, flush=True)
        if sys.stdin.readline().strip() != GO:
            sys.exit("nobody said go: nothing was drained")
        print(json.dumps(drain()), file=answers, flush=True)
        sys.stdin.read()
