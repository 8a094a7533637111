"""The platform in production, on this machine: secure services, deploy/production's own commands, one supervisor."""

from __future__ import annotations

import base64
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dagster_project.contract.loader import load_catalog
from dagster_project.launcher.daemon import lock
from dagster_project.services.lock import holder
from dagster_project.services.orchestrator import Orchestra
from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.services.revive import Service
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import COMMAND_PATIENCE, environment
from tests.live.place import Place, setting
from tests.production.processes import command, grace, waited
from tests.production.services.cache import secure_cache
from tests.production.services.certificates import Authority
from tests.production.services.database import SecureDatabase, secure_database
from tests.production.services.kafka import SecureKafka, secure_kafka
from tests.production.services.registry import secure_registry
from tests.production.services.store import BUCKET, SecureStore, secure_store

# Of the platform's variables those that are mounted as files; the store's key goes the same way as all others.
SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "DAGSTER_POSTGRES_URL",
    "KAFKA_SASL_PASSWORD",
    "LAKEHOUSE_DASHBOARD_TOKEN",
    "LAKEHOUSE_METRICS_TOKEN",
    "LAKEHOUSE_PSEUDONYM_KEYS",
    "REDIS_URL",
)
_SERVICES = ("code-server", "daemon", "webserver", "exporter", "page")
# Kafka's users: whoever makes topics, whoever sends, whoever only looks, and everybody else.
_OPERATOR, _PRODUCER, _MONITOR, _RUNS = "operator", "producer", "monitor", "runs"
_USERS = {"topics": _OPERATOR, "exporter": _MONITOR, "page": _MONITOR}


@dataclass(kw_only=True)
class Ground(Place):
    """A platform in production.

    Attributes:
        producer: the variables of whoever sends events.
        secrets: the folder of secrets that processes are given, where they belong.
        values: what nobody must find elsewhere, by name.
    """

    kafka: SecureKafka
    store: SecureStore
    database: SecureDatabase
    orchestra: Orchestra
    services: Mapping[str, Service]
    producer: Mapping[str, str]
    secrets: Path
    values: Mapping[str, str]

    def check(self) -> None:
        self.orchestra.check()

    def kill(self, name: str) -> float:
        """Kill the code server or the daemon; returns how many seconds it took until another one was at work."""
        before = self.orchestra.pid(name)
        port = int(self.variables["LAKEHOUSE_CODE_SERVER_PORT"])
        began = time.monotonic()
        os.kill(before, signal.SIGKILL)
        waited(lambda: self.orchestra.pid(name) != before, f"another {name}")
        if name == "code-server":
            waited(lambda: _listens(port), "the code server's port")
        else:
            waited(lambda: holder(lock(self.settings)) == self.orchestra.pid(name), "the daemon at work")
        return time.monotonic() - began

    def stop(self) -> dict[str, int | None]:
        """Ask each process to end, with the time that compose.yaml gives it; returns the codes that they ended with."""
        self.orchestra.stop()
        return {name: service.code for name, service in self.services.items()}


@contextmanager
def ground(home: Path) -> Generator[Ground]:
    """Start everything, in the order of compose.yaml.

    Args:
        home: has the project; everything else is made in it.
    """
    with ExitStack() as stack:
        kafka = stack.enter_context(secure_kafka(home / "kafka"))
        store = stack.enter_context(secure_store(home / "store"))
        cache = stack.enter_context(secure_cache(home / "cache"))
        database = stack.enter_context(secure_database(home / "database"))
        registry = stack.enter_context(secure_registry(home / "registry"))
        authorities = home / "authorities.pem"
        authorities.write_text(store.ca.read_text() + registry.ca.read_text())
        common = {
            **store.variables("platform"),
            **cache.variables("platform"),
            **database.variables(),
            "LAKEHOUSE_PROFILE": "production",
            "LAKEHOUSE_COMPUTE_LOGS": f"s3://{BUCKET}/compute-logs",
            "LAKEHOUSE_CODE_SERVER_HOST": LOOPBACK,
            "LAKEHOUSE_CODE_SERVER_PORT": str(free_port()),
            "LAKEHOUSE_PSEUDONYM_KEYS": f"test:{base64.b64encode(secrets.token_bytes(32)).decode()}",
            "LAKEHOUSE_DASHBOARD_TOKEN": secrets.token_urlsafe(24),
            "LAKEHOUSE_METRICS_TOKEN": secrets.token_urlsafe(24),
            "SCHEMA_REGISTRY_URL": registry.url,
            "AWS_CA_BUNDLE": str(authorities),
            "SSL_CERT_FILE": str(authorities),
            "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE": "120",
        }
        users = {
            user: environment(home=home, project=home, more={**common, **kafka.variables(user)})
            for user in (_OPERATOR, _PRODUCER, _MONITOR, _RUNS)
        }
        kafka.grant(load_catalog(home / "contracts").datasets)
        folder = home / "secrets"
        mounted = {user: _mounted(folder / user, variables) for user, variables in users.items()}
        for name in ("migrate", "topics"):
            _run(name, mounted[_USERS.get(name, _RUNS)])
        logs = home / "services" / "dagster"
        services = _services(logs, mounted)
        orchestra = Orchestra(logs, list(services.values()), runs=home / "dagster" / "processes")
        stack.callback(orchestra.stop)
        _start(orchestra, services, port=int(common["LAKEHOUSE_CODE_SERVER_PORT"]))
        with setting(users[_RUNS]):
            yield Ground(
                home=home,
                settings=Settings.from_environment(users[_RUNS]),
                variables=users[_RUNS],
                kafka=kafka,
                store=store,
                database=database,
                orchestra=orchestra,
                services=services,
                producer=users[_PRODUCER],
                secrets=folder,
                values=dict(_values(users)),
            )


def _services(logs: Path, mounted: Mapping[str, Mapping[str, str]]) -> dict[str, Service]:
    """The long-running services of compose.yaml, with its commands and times."""
    logs.mkdir(parents=True, exist_ok=True)
    runs = mounted[_RUNS]
    certificate = Authority(logs.parent / "certificates").certify("views")

    def service(name: str) -> Service:
        port = {"daemon": None, "code-server": int(runs["LAKEHOUSE_CODE_SERVER_PORT"])}.get(name, free_port())
        arguments = command(name, port=port, certificate=certificate)
        return Service(name, arguments, mounted[_USERS.get(name, _RUNS)], logs=logs, grace=grace(name))

    return {name: service(name) for name in _SERVICES}


def _start(orchestra: Orchestra, services: Mapping[str, Service], *, port: int) -> None:
    """Start them under the supervisor of this project, which restarts as an engine does."""
    for name, service in services.items():
        service.start()
        if name == "code-server":
            waited(lambda: _serves(services["code-server"], port), name)
    orchestra.start()


def _serves(service: Service, port: int) -> bool:
    assert service.alive, service.last_words()
    return _listens(port)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True


def _mounted(folder: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The same variables, secrets of them in files."""
    folder.mkdir(parents=True, mode=0o700)
    for name in SECRETS:
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(variables[name])
    open_ = {name: value for name, value in variables.items() if name not in SECRETS}
    return {**open_, "LAKEHOUSE_SECRETS": str(folder)}


def _values(users: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    """Each secret by the name of its variable; of a URL its password."""
    for user, variables in users.items():
        yield f"KAFKA_SASL_PASSWORD of {user}", variables["KAFKA_SASL_PASSWORD"]
    common = users[_RUNS]
    for name in ("DAGSTER_POSTGRES_URL", "REDIS_URL"):
        yield name, common[name].partition("://")[2].rpartition("@")[0].partition(":")[2]
    yield "LAKEHOUSE_PSEUDONYM_KEYS", common["LAKEHOUSE_PSEUDONYM_KEYS"].partition(":")[2]
    for name in ("AWS_SECRET_ACCESS_KEY", "LAKEHOUSE_DASHBOARD_TOKEN", "LAKEHOUSE_METRICS_TOKEN"):
        yield name, common[name]


def _run(service: str, variables: Mapping[str, str]) -> None:
    """One of the services that do something and end."""
    ran = subprocess.run(
        command(service),
        env=dict(variables),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=COMMAND_PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, f"{service}: {ran.stdout}\n{ran.stderr}"
