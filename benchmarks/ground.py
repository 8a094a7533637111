"""Where a benchmark takes place: a broker, a lake and all else in one folder, which is deleted afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.services import kafka
from dagster_project.settings import Settings

BENCHMARKS = Path(__file__).resolve().parent
CONTRACTS = BENCHMARKS / "contracts"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One broker on the loopback interface, and the settings that lead to it.

    Attributes:
        home: an empty folder for whatever a benchmark writes.
    """

    home: Path
    settings: Settings
    servers: str


@contextmanager
def ground(contracts: str) -> Generator[Ground]:
    """Start a broker; whatever the environment says about another one is forgotten.

    Args:
        contracts: a folder of `benchmarks/contracts`, the contracts of the project.
    """
    for name in [name for name in os.environ if name.startswith(("LAKEHOUSE_", "KAFKA_", "DAGSTER_"))]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="lakehouse-benchmark-") as folder:
        home, project = Path(folder), Path(folder) / "project"
        project.mkdir()
        (project / "contracts").symlink_to(CONTRACTS / contracts)
        settings = Settings(home=home, project=project, lake_uri=str(home / "lake"), bootstrap_servers="")
        try:
            yield Ground(home=home, settings=settings, servers=kafka.up(settings, brokers=1).bootstrap_servers)
        finally:
            kafka.down(settings)
