"""Dagster's own processes on this machine: a standing code server and the daemon that ticks the sensors."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from dagster_project.errors import ServiceError
from dagster_project.services.lock import exclusive
from dagster_project.services.ports import free_port
from dagster_project.settings import REPOSITORY, Settings

_CONFIGURATION = REPOSITORY / "deploy" / "dagster.yaml"
MODULE = "dagster_project.definitions"
# Importing Dagster and the engines takes some 5 s on two cores, and several times that on a busy machine.
_START_SECONDS = 120.0
# The daemon ends its loops within a few seconds; the code server may ignore SIGTERM.
_STOP_SECONDS = 10.0
# Another one that is just ending gets this long.
_LOCK_SECONDS = 3.0


def prepare(settings: Settings) -> dict[str, str]:
    """Write Dagster's instance configuration; returns the environment in which its processes run."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    target = settings.dagster_home / "dagster.yaml"
    if not target.exists() or target.read_bytes() != _CONFIGURATION.read_bytes():
        shutil.copyfile(_CONFIGURATION, target)
    return {
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "LAKEHOUSE_HOME": str(settings.home),
        "LAKEHOUSE_PROJECT": str(settings.project),
    }


def alone(settings: Settings) -> AbstractContextManager[None]:
    """Hold the installation: two daemons on one instance would each tick every sensor.

    Raises:
        ServiceError: another `lakehouse dev` or `lakehouse demo` holds it.
    """
    return exclusive(settings.home / "services" / "dagster" / "lock", patience=_LOCK_SECONDS)


@contextmanager
def running(settings: Settings) -> Generator[Path]:
    """Run a code server and the daemon for as long as the context lasts; yields the folder of their logs.

    Raises:
        ServiceError: one of them does not start.
    """
    environment = prepare(settings)
    logs = settings.home / "services" / "dagster"
    logs.mkdir(parents=True, exist_ok=True)
    port = free_port()
    workspace = logs / "workspace.yaml"
    workspace.write_text(f"load_from:\n  - grpc_server: {{host: 127.0.0.1, port: {port}, location_name: lakehouse}}\n")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        code = [sys.executable, "-m", "dagster", "api", "grpc", "-m", MODULE, "-h", "127.0.0.1", "-p", str(port)]
        processes.append(_spawn(code, environment, logs / "code-server.log"))
        _wait_for_port(port, processes[0], logs / "code-server.log")
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", str(workspace)]
        processes.append(_spawn(daemon, environment, logs / "daemon.log"))
        yield logs
    finally:
        _stop(list(reversed(processes)))


def _spawn(command: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        # A session of its own: Ctrl-C reaches us, and we end them in order.
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise ServiceError(f"Dagster's code server did not start; the end of {log}:\n{last}", remedy=f"read {log}")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the daemon first, so that it launches nothing on a code server that is going away."""
    for process in processes:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
