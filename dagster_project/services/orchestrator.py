"""Dagster's own processes on this machine: a standing code server, the daemon that ticks the sensors, and the UI."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services import keeper
from dagster_project.services.lock import exclusive, holder
from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.services.revive import Service
from dagster_project.services.whole import write_whole
from dagster_project.settings import REPOSITORY, Settings

_DEPLOY = REPOSITORY / "deploy"
_CONFIGURATIONS = {"local": _DEPLOY / "dagster.yaml", "production": _DEPLOY / "production" / "dagster.yaml"}
MODULE = "dagster_project.definitions"
# Importing Dagster and the engines takes some 5 s on two cores, and several times that on a busy machine.
_START_SECONDS = 120.0
# Another one that is just ending gets this long.
_LOCK_SECONDS = 3.0
# How often the processes are looked at: short beside the seconds that one takes to start.
_LOOK_SECONDS = 0.2


def instance_home(settings: Settings) -> Path:
    """Where Dagster's instance is: in production DAGSTER_HOME where it is set, as whoever set it configures the instance."""
    own = os.environ.get("DAGSTER_HOME", "") if settings.profile == "production" else ""
    return Path(own).resolve() if own else settings.dagster_home


def prepare(settings: Settings) -> dict[str, str]:
    """Write Dagster's instance configuration, unless it is somebody else's; returns the environment of its processes."""
    home = instance_home(settings)
    if home == settings.dagster_home:
        target, wanted = home / "dagster.yaml", _CONFIGURATIONS[settings.profile].read_text(encoding="utf-8")
        if not target.exists() or target.read_text(encoding="utf-8") != wanted:
            write_whole(target, wanted)
    return {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_PROJECT": str(settings.project),
    }


def alone(settings: Settings) -> AbstractContextManager[None]:
    """Hold the installation: two daemons on one instance would each tick every sensor.

    Raises:
        ServiceError: another `lakehouse dev` or `lakehouse demo` holds it.
    """
    return exclusive(settings.home / "services" / "dagster" / "lock", patience=_LOCK_SECONDS)


class Orchestra:
    """Dagster's processes while they run; one that dies is started again.

    Attributes:
        logs: the folder of their logs; `supervisor.log` tells of deaths and restarts.
    """

    def __init__(self, logs: Path, services: list[Service], *, runs: Path) -> None:
        self.logs = logs
        self._runs = runs
        self._services = services
        self._ending = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._error: ServiceError | None = None

    def pid(self, name: str) -> int:
        """The process of `code-server`, `daemon` or `webserver`; another one after it was started again."""
        return next(service.pid for service in self._services if service.name == name)

    def check(self) -> None:
        """Raise what ended the supervision.

        Raises:
            ServiceError: one of the processes died again and again.
        """
        if self._error is not None:
            raise self._error

    def start(self) -> None:
        self._watcher.start()

    def stop(self) -> None:
        """End the processes, last started first: the daemon launches nothing that the code server does not know.

        The daemon ends its runs; those of a daemon that was killed are ended here.
        """
        self._ending.set()
        if self._watcher.is_alive():
            self._watcher.join()
        for service in reversed(self._services):
            service.stop()
        for run in self._runs.glob("*"):
            if (pid := holder(run)) is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _watch(self) -> None:
        while not self._ending.wait(_LOOK_SECONDS):
            try:
                for service in self._services:
                    service.tend()
            except ServiceError as error:
                self._error = error
                return


@contextmanager
def running(settings: Settings, *, ui_port: int | None = None, metrics_port: int | None = None) -> Generator[Orchestra]:
    """Run a code server, the daemon and, given their ports, the UI and the metrics, for as long as the context lasts.

    The local cache and schema registry, where there are any, are looked after, too.

    Raises:
        ServiceError: one of them does not start.
    """
    environment = prepare(settings)
    logs = settings.home / "services" / "dagster"
    logs.mkdir(parents=True, exist_ok=True)
    # Chosen once: a code server that is started again is found where it was.
    port = free_port()
    workspace = logs / "workspace.yaml"
    write_whole(
        workspace, f"load_from:\n  - grpc_server: {{host: {LOOPBACK}, port: {port}, location_name: lakehouse}}\n"
    )
    commands = {
        "code-server": [
            "dagster_project.launcher.code_server",
            "api",
            "grpc",
            "-m",
            MODULE,
            "-h",
            LOOPBACK,
            "-p",
            str(port),
        ],
        "daemon": ["dagster_project.launcher.daemon", "run", "-w", str(workspace)],
    }
    if ui_port is not None:
        commands["webserver"] = [
            "dagster_project.launcher.webserver",
            "-h",
            LOOPBACK,
            "-p",
            str(ui_port),
            "-w",
            str(workspace),
        ]
    if metrics_port is not None:
        commands["metrics"] = ["dagster_project.cli.main", "metrics", "serve", "--port", str(metrics_port)]
    services = [
        Service(name, [sys.executable, "-m", *command], environment, logs=logs) for name, command in commands.items()
    ]
    orchestra = Orchestra(logs, services, runs=settings.dagster_home / "processes")
    try:
        for service in services:
            service.start()
            if service.name == "code-server":
                _wait_for_port(port, service)
        orchestra.start()
        with keeper.kept(settings, book=logs / "supervisor.log"):
            yield orchestra
    finally:
        orchestra.stop()


def _wait_for_port(port: int, service: Service) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and service.alive:
        try:
            with socket.create_connection((LOOPBACK, port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise ServiceError(f"Dagster's code server did not start; {service.last_words()}", remedy=f"read {service.log}")
