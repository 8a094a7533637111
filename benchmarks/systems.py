"""The systems that are compared, and one drain of one of them: measured, then judged."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.figures import VerdictError
from benchmarks.ground import BENCHMARKS, Ground
from benchmarks.measure import Measured, measure
from benchmarks.preload import Loaded
from benchmarks.verdict import judge
from dagster_project.launcher.forks import ECONOMY

REPOSITORY = BENCHMARKS.parent
# Libraries of the peers that the platform itself has no use for are in a virtual environment of their own.
PEERS_PYTHON = REPOSITORY / ".venv-bench" / "bin" / "python"
# Far more than any system needs for what it is given, start included.
_PATIENCE_S = 1_800.0


@dataclass(frozen=True, kw_only=True)
class System:
    """One that drains the topic.

    Attributes:
        module: of `benchmarks/peers`.
        has_tables: it writes Delta tables; otherwise only its rows are counted.
        environment: variables that it is started with.
    """

    name: str
    module: str
    python: Path = Path(sys.executable)
    has_tables: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_installed(self) -> bool:
        return self.python.exists()


OURS = System(name="ours", module="ours", environment=ECONOMY)
SYSTEMS = (
    OURS,
    System(name="floor", module="floor", has_tables=False),
    System(name="spark", module="spark", python=PEERS_PYTHON),
    System(name="dlt", module="dlt_kafka", python=PEERS_PYTHON),
    System(name="handwritten", module="handwritten", python=PEERS_PYTHON),
)


def drain(system: System, loaded: Loaded, ground: Ground) -> Measured:
    """Have a system drain a topic into new tables.

    Raises:
        DrainError: it did not come to its end.
        VerdictError: its tables are not as the oracle says.
    """
    out = ground.home / "out" / system.name
    logs = ground.home / "logs"
    out.mkdir(parents=True)
    logs.mkdir(exist_ok=True)
    arguments = {
        "--servers": ground.servers,
        "--topic": loaded.topic,
        "--end": loaded.end,
        "--out": out,
        "--events-file": loaded.events_file,
    }
    command = [str(system.python), "-m", f"benchmarks.peers.{system.module}"]
    try:
        measured = measure(
            system.name,
            command + [str(text) for option in arguments.items() for text in option],
            out=out,
            log=logs / f"{system.name}.log",
            cwd=REPOSITORY,
            environment={
                **os.environ,
                **system.environment,
                "LAKEHOUSE_URI": str(out),
                "LAKEHOUSE_HOME": str(out / "home"),
            },
            patience_s=_PATIENCE_S,
        )
        problems = judge(out, [loaded.oracle]) if system.has_tables else _counted(measured, loaded)
    finally:
        shutil.rmtree(out)
    require(system.name, problems)
    return measured


def require(name: str, problems: list[str]) -> None:
    """Raises: VerdictError: there are problems."""
    if problems:
        raise VerdictError(
            "\n".join(f"{name}: {problem}" for problem in problems),
            expected="the tables that the oracle has computed from the workload's plan",
            remedy="mend the system; until then no figure of the benchmark means anything",
        )


def _counted(measured: Measured, loaded: Loaded) -> list[str]:
    rows, most = measured.answer["rows_bronze"], loaded.events
    least = most - loaded.counts["poison"]
    return [] if least <= rows <= most else [f"{rows} rows, expected {least} to {most}"]
