"""The platform's processes as deploy/production/compose.yaml starts them, here: its commands, at other addresses."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from dagster_project.services.orchestrator import MODULE
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY
from tests.integration.lake import COMMAND_PATIENCE
from tests.production.services.certificates import Certificate

PRODUCTION = REPOSITORY / "deploy" / "production"
# What compose.yaml says of each: all addresses of its container, and this port.
_ANYWHERE = "0.0.0.0"
_PORTS = {"code-server": "4266", "webserver": "3000", "exporter": "9464", "page": "3001"}
_CERTIFICATE, _KEY = "/run/secrets/views.crt", "/run/secrets/views.key"
_LOOK_S = 0.1
# What an engine gives to who asks for nothing else.
_GRACE = "10s"


def compose() -> dict[str, dict[str, object]]:
    """The services of compose.yaml."""
    return yaml.safe_load((PRODUCTION / "compose.yaml").read_text(encoding="utf-8"))["services"]


def command(
    service: str, *, port: int | None = None, module: str = MODULE, certificate: Certificate | None = None
) -> list[str]:
    """What compose.yaml starts a service with, to be started here.

    Args:
        module: of another code location.
        certificate: of a service that speaks TLS itself.
    """
    found = compose()[service]["command"]
    assert isinstance(found, list)
    places = {"python": sys.executable, _ANYWHERE: LOOPBACK, MODULE: module}
    if certificate:
        places |= {_CERTIFICATE: str(certificate.chain), _KEY: str(certificate.key)}
    if port:
        places[_PORTS[service]] = str(port)
    return [places.get(word, word) for word in map(str, found)]


def grace(service: str) -> float:
    """How many seconds compose.yaml gives a service to end."""
    return float(str(compose()[service].get("stop_grace_period", _GRACE)).removesuffix("s"))


def waited(until: Callable[[], bool], what: str, *, patience: float = COMMAND_PATIENCE) -> float:
    """Wait for it; returns how many seconds that took."""
    began = time.monotonic()
    while not until():
        assert time.monotonic() - began < patience, f"{what}: not within {patience:.0f} s"
        time.sleep(_LOOK_S)
    return time.monotonic() - began


@dataclass(kw_only=True)
class Process:
    """One process, which only the test ends."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    popen: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.arguments,
                env=dict(self.environment),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def listens(self) -> bool:
        """Whether it takes connections, itself and not another one on the same port."""
        assert self.alive, f"{self.name} has ended: {self.last_words()}"
        found = psutil.Process(self.pid).net_connections(kind="tcp")
        return any(one.status == psutil.CONN_LISTEN for one in found)

    def ask_to_end(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """As a crash would: what it has started is left alone."""
        self.popen.kill()
        self.popen.wait()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2_000:]


@contextmanager
def processes(logs: Path) -> Generator[Callable[[str, list[str], Mapping[str, str]], Process]]:
    """Starts processes by name; all that they have started is gone in the end."""
    started: list[Process] = []

    def start(name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        made = Process(name=name, arguments=arguments, environment=environment, log=logs / f"{name}.log")
        made.start()
        started.append(made)
        return made

    try:
        yield start
    finally:
        home = {process.environment["LAKEHOUSE_HOME"] for process in started}
        for process in started:
            process.popen.kill()
            process.popen.wait()
        for process in psutil.process_iter():  # runs, and what they are forked off
            try:
                if process.environ().get("LAKEHOUSE_HOME") in home:
                    process.kill()
            except psutil.Error:  # gone meanwhile, or another user's
                continue
