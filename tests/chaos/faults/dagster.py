"""Dagster's own processes dying or frozen, and its sensors' ticks lost, doubled and out of order."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from dagster_project.settings import REPOSITORY
from tests.chaos.fault import STRIKE_SECONDS, Fault, Trial
from tests.chaos.platform import PASS
from tests.chaos.verdict import arrived

# Arguments by which the processes are known; runs are known by what they hold.
DAEMON, CODE_SERVER, RUN = "dagster_project.launcher.daemon", "grpc", "run"
_FROZEN_SECONDS = 8.0
_MOST_SECONDS = 4.0
_STATE = ("job_ticks", "jobs", "instigators")


def faults() -> Iterator[Fault]:
    yield Fault(name="daemon-killed", act=_killed(DAEMON), platform="daemon")
    yield Fault(name="code-server-killed", act=_killed(CODE_SERVER), platform="daemon")
    yield Fault(name="daemon-and-code-server-killed", act=_killed(DAEMON, CODE_SERVER), platform="daemon")
    yield Fault(name="code-server-killed-amid-run", act=_killed(CODE_SERVER, amid=True), platform="daemon")
    yield Fault(name="daemon-killed-amid-run", act=_killed(DAEMON, amid=True), platform="daemon")
    yield Fault(name="run-worker-killed", act=_killed(RUN, amid=True), platform="daemon")
    yield Fault(name="daemon-frozen", act=_frozen(DAEMON), platform="daemon")
    yield Fault(name="code-server-frozen", act=_frozen(CODE_SERVER), platform="daemon")
    yield Fault(name="ticks-forgotten", act=_forgotten, platform="daemon")
    yield Fault(name="ticks-doubled", act=_doubled, platform="daemon")
    yield Fault(name="runs-beside-sensors", act=_beside, platform="daemon")


def _killed(*arguments: str, amid: bool = False) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        if amid:
            trial.until(lambda: _runs(trial))
            time.sleep(trial.rng.uniform(0, _MOST_SECONDS))
        for argument in arguments:
            trial.until(partial(_kill, trial, argument))

    return act


def _kill(trial: Trial, argument: str) -> bool:
    """Kill the process that has an argument: of runs, the youngest; of others, the one that started them."""
    found = trial.daemon.runs()[-1:] if argument == RUN else trial.daemon.processes(argument)[:1]
    for process in found:
        process.kill()
    return bool(found)


def _runs(trial: Trial) -> bool:
    return not arrived(trial.scene) and bool(trial.daemon.runs())


def _frozen(argument: str) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        process = trial.daemon.processes(argument)[0]
        process.send_signal(signal.SIGSTOP)
        try:
            trial.scene.produce()
            time.sleep(_FROZEN_SECONDS)
        finally:
            process.send_signal(signal.SIGCONT)
        trial.mark()

    return act


def _forgotten(trial: Trial) -> None:
    """All that Dagster remembers of its sensors is deleted, before the events and again amid their runs."""
    for _ in range(2):
        database = trial.scene.home / "dagster" / "schedules" / "schedules.db"
        with closing(sqlite3.connect(database, timeout=STRIKE_SECONDS)) as connection, connection:
            for table in _STATE:
                connection.execute(f"DELETE FROM {table}")
        if trial.moment:
            trial.scene.produce()
            trial.until(lambda: _runs(trial))
    trial.mark()


def _doubled(trial: Trial) -> None:
    """The same run is asked for twice more, beside the sensor's own request."""
    trial.scene.produce()
    workspace = trial.scene.home / "services" / "dagster" / "workspace.yaml"
    command = [sys.executable, "-m", "dagster", "job", "launch", "-w", str(workspace), "-j", "ingest_orders"]
    variables = {**trial.scene.environment(), "DAGSTER_HOME": str(trial.scene.home / "dagster")}
    launches = [
        subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for launch in launches:
        _, errors = launch.communicate(timeout=STRIKE_SECONDS)
        assert launch.returncode == 0, errors.decode(errors="replace")
    trial.mark()


def _beside(trial: Trial) -> None:
    """Runs that Dagster knows nothing of work on the same tables at the same time."""
    trial.scene.produce()
    workers = [trial.scene.start(*PASS) for _ in range(2)]
    for worker in workers:
        worker.communicate(timeout=STRIKE_SECONDS)
    trial.mark()
