"""What recovers after a fault: short-lived processes, one pass after the other, or Dagster's daemon with its sensors."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Protocol

import psutil

from dagster_project.services import orchestrator
from dagster_project.services.lock import holder
from dagster_project.services.orchestrator import Orchestra
from dagster_project.settings import Settings
from tests.chaos.scene import Scene

PASS = ("ingest", "refine", "compute", "publish")
# A pass takes some two seconds, and as long as a store's time-outs where it does not answer.
_PASS_SECONDS = 240.0
_POLL_SECONDS = 0.5
_UNFINISHED = ("QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING", "MANAGED")


class Platform(Protocol):
    """How work is done for one scene."""

    name: str

    def advance(self) -> None:
        """Let some work be done."""
        ...

    def idle(self) -> bool:
        """Whether nothing is in flight."""
        ...


class Processes:
    """Runs what the sensors would launch, each pass a process."""

    name = "processes"

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.last_error = ""

    def advance(self) -> None:
        worker = self._scene.start(*PASS)
        _, errors = worker.communicate(timeout=_PASS_SECONDS)
        self.last_error = errors.strip() if worker.returncode else ""

    def idle(self) -> bool:
        return True


class Daemon:
    """Dagster's daemon and code server do everything; made by `daemon`."""

    name = "daemon"

    def __init__(self, settings: Settings, orchestra: Orchestra) -> None:
        self._settings = settings
        self._orchestra = orchestra

    def advance(self) -> None:
        self._orchestra.check()
        time.sleep(_POLL_SECONDS)

    def idle(self) -> bool:
        runs = self._settings.dagster_home / "history" / "runs.db"
        if not runs.exists():
            return True
        marks = ", ".join("?" * len(_UNFINISHED))
        with closing(sqlite3.connect(f"file:{runs}?mode=ro", uri=True)) as connection:
            query = f"SELECT count(*) FROM runs WHERE status IN ({marks})"
            return connection.execute(query, _UNFINISHED).fetchone()[0] == 0

    def processes(self, argument: str) -> list[psutil.Process]:
        """Processes of this platform, the oldest first, that have an argument."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("LAKEHOUSE_HOME") == str(self._settings.home)
                if ours and argument in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:  # gone meanwhile, or another user's
                continue
        return sorted(found, key=lambda process: process.create_time())

    def runs(self) -> list[psutil.Process]:
        """Processes of runs, the oldest first."""
        held = (holder(mark) for mark in (self._settings.dagster_home / "processes").glob("*"))
        found = [psutil.Process(pid) for pid in held if pid is not None and psutil.pid_exists(pid)]
        return sorted(found, key=lambda process: process.create_time())


@contextmanager
def daemon(scene: Scene) -> Generator[Daemon]:
    """Run Dagster for a scene, with the saboteur on its path."""
    before = dict(os.environ)
    # The orchestrator hands on this process's variables.
    os.environ.update(scene.environment())
    settings = Settings.from_environment()
    try:
        with orchestrator.running(settings) as orchestra:
            yield Daemon(settings, orchestra)
    finally:
        os.environ.clear()
        os.environ.update(before)
