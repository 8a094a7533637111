"""The result file: written anew after each part, so that a run which is broken off has told what it saw."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any, Self

import psutil
from rich.table import Table

from benchmarks.figures import GATES, Outcome, VerdictError, now
from benchmarks.sizes import Sizes
from benchmarks.systems import PEERS_PYTHON
from benchmarks.workload import Workload
from dagster_project.errors import LakehouseError
from dagster_project.services.java import KAFKA

_LIBRARIES = ("confluent-kafka", "dagster", "deltalake", "duckdb", "polars", "pyarrow")
_PEERS = ("dlt", "pyspark")
_EQUAL, _OPEN = "equal", "not yet known"


class Result:
    """What was found so far, as the JSON document that it is written as."""

    def __init__(self, path: Path, found: dict[str, Any], *, command: str) -> None:
        self._path = path
        self._found = found
        self._command = command

    @classmethod
    def begin(cls, path: Path, *, command: str, sizes: Sizes, keep: bool) -> Self:
        """A new result, or with `keep` the one of the file to be added to."""
        before: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if keep and path.exists() else {}
        found = {
            "figures": {},
            "spread": {},
            "measured": {},
            "systems": {},
            "skipped": {},
            "details": {},
            **before,
            "command": command,
            "date": now(),
            "machine": machine(),
            "workload": {**asdict(Workload(events=sizes.events)), "sizes": asdict(sizes)},
            "verdict": _OPEN,
        }
        return cls(path, found, command=command)

    @property
    def figures(self) -> Mapping[str, float]:
        return self._found["figures"]

    @property
    def spread(self) -> Mapping[str, tuple[float, float]]:
        return self._found["spread"]

    @property
    def systems(self) -> Mapping[str, Mapping[str, Any]]:
        return self._found["systems"]

    @property
    def skipped(self) -> Mapping[str, str]:
        return self._found["skipped"]

    def system(self, name: str, summary: Mapping[str, Any]) -> None:
        self._found["systems"][name] = summary
        self._found["skipped"].pop(name, None)
        self._write()

    def skip(self, name: str, reason: str) -> None:
        self._found["skipped"][name] = reason
        self._write()

    def add(self, part: str, outcome: Outcome) -> None:
        self._found["figures"] |= outcome.figures
        self._found["spread"] |= outcome.spread
        self._found["details"][part] = outcome.details
        self._found["measured"] |= {name: {"command": self._command, "date": now()} for name in outcome.figures}
        self._write()

    def finish(self) -> None:
        self._found["verdict"] = _EQUAL
        self._write()

    def fail(self, error: LakehouseError) -> None:
        """Nothing is said of the speed of what is wrong; what merely broke off keeps what it has found."""
        self._found["verdict"] = str(error)
        if isinstance(error, VerdictError):
            self._found |= {"figures": {}, "spread": {}, "measured": {}}
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(self._found, indent=2, default=str) + "\n", encoding="utf-8")
        partial.replace(self._path)


def table(result: Result) -> Table:
    """The figures beside their bounds."""
    shown = Table(title="every table is equal to the oracle", title_justify="left")
    for heading in ("figure", "", "bound", "", "from", "to"):
        shown.add_column(heading, justify="left" if heading == "figure" else "right")
    for name, gate in GATES.items():
        value = result.figures.get(name)
        if value is None:
            continue
        held = "[green]yes[/]" if gate.holds(value) else "[red]NO[/]"
        least, most = result.spread.get(name, ("", ""))
        shown.add_row(
            f"{name}  [dim]{gate.says}[/]", f"{value:g}", f"{gate.kind} {gate.bound:g}", held, f"{least}", f"{most}"
        )
    for name, reason in result.skipped.items():
        shown.add_row(f"{name}  [yellow]{reason}[/]")
    return shown


def machine() -> dict[str, Any]:
    """Where it was measured, and with which versions."""
    kafka = next(KAFKA.glob("target/libs/kafka-clients-*.jar"), None)
    peers = distributions(path=[str(path) for path in PEERS_PYTHON.parent.parent.glob("lib/python*/site-packages")])
    return {
        "cpus": os.cpu_count(),
        "cpu": _cpu(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "load_average": os.getloadavg()[0],
        "system": platform.system(),
        "python": sys.version.partition(" ")[0],
        "kafka": None if kafka is None else kafka.stem.rpartition("-")[2],
        "versions": {
            **{name: version(name) for name in _LIBRARIES},
            **{one.name: one.version for one in peers if one.name in _PEERS},
        },
    }


def _cpu() -> str:
    names = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    return next(names, platform.machine())
