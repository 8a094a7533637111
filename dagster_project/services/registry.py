"""The local schema registry: started where a contract needs one, with what it knows kept from start to start."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dagster_project.contract.model import Dataset
from dagster_project.errors import ServiceError
from dagster_project.services import daemon
from dagster_project.services.daemon import Daemon
from dagster_project.services.java import REGISTRY, class_path, find_java
from dagster_project.services.launch import environment
from dagster_project.services.lock import exclusive
from dagster_project.services.ports import LOOPBACK, free_port, is_free
from dagster_project.settings import Settings, without_secret

_MAIN = "io.quarkus.runner.GeneratedMain"
# It takes 190 MB; of the optimizing compiler it has as little use as a broker.
_OPTIONS = ("-Xmx256m", "-XX:+ExitOnOutOfMemoryError", "-XX:TieredStopAtLevel=1")
# A start takes 5 to 15 s, more on few cores beside other work.
_START_SECONDS = 120.0
_STOP_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_LOCK_SECONDS = 180.0  # as of Kafka's: longer than a first start takes


@dataclass(frozen=True, kw_only=True)
class RegistryStatus:
    """What there is of a schema registry.

    Attributes:
        url: of Confluent's API; empty where none was ever started.
        managed: it is the local one; otherwise the one of SCHEMA_REGISTRY_URL.
        pid: of the local one, `None` when it does not run.
    """

    url: str
    managed: bool
    pid: int | None
    log: Path | None


def is_needed(datasets: Iterable[Dataset]) -> bool:
    """Whether messages of one of them name schemas by id."""
    return any(dataset.topic.wire_format == "confluent" for dataset in datasets)


def registry_url(settings: Settings) -> str:
    """Where clients find the registry: SCHEMA_REGISTRY_URL, or else the local one, which runs.

    Raises:
        ServiceError: there is none.
    """
    if settings.schema_registry_url:
        return settings.schema_registry_url
    port, running = _load(settings)
    if running is not None:
        return _url(port)
    raise ServiceError("no schema registry", remedy="run `lakehouse up`, or set SCHEMA_REGISTRY_URL")


def registry_of(dataset: Dataset, settings: Settings) -> str:
    """The URL of the registry that knows a dataset's schemas; empty where its messages name none.

    Raises:
        ServiceError: there is none.
    """
    return registry_url(settings) if dataset.topic.wire_format == "confluent" else ""


def up(settings: Settings, *, report: Callable[[str], None]) -> RegistryStatus:
    """Start the local registry unless it runs. One that SCHEMA_REGISTRY_URL names is left alone.

    Raises:
        ServiceError: Java or the jars are missing, or it does not come up; then it is stopped again.
    """
    if settings.schema_registry_url:
        return status(settings)
    with exclusive(_folder(settings) / "lock", patience=_LOCK_SECONDS):
        port, running = _load(settings)
        if running is None:
            _start(settings, port, report=report)
    return status(settings)


def revive(settings: Settings, *, report: Callable[[str], None]) -> None:
    """Start the local registry again if it has died. One that was never started, or was stopped by `down`, stays so.

    Raises:
        ServiceError: as of `up`.
    """
    if settings.schema_registry_url or not _has_died(settings):
        return
    with exclusive(_folder(settings) / "lock", patience=_LOCK_SECONDS):
        if _has_died(settings):  # nobody has stopped or started it meanwhile
            report("it has died; starting it again")
            _start(settings, _noted(settings)[0], report=report)


def down(settings: Settings) -> RegistryStatus:
    """Stop the local registry; the schemas are kept."""
    if not settings.schema_registry_url and _state(settings).exists():
        with exclusive(_folder(settings) / "lock", patience=_LOCK_SECONDS):
            _end(settings)
            _save(settings, _noted(settings)[0], None)
    return status(settings)


def status(settings: Settings) -> RegistryStatus:
    if settings.schema_registry_url:
        return RegistryStatus(url=without_secret(settings.schema_registry_url), managed=False, pid=None, log=None)
    port, running = _load(settings)
    url = _url(port) if port else ""
    return RegistryStatus(url=url, managed=True, pid=running.pid if running else None, log=_log(settings))


def _start(settings: Settings, port: int, *, report: Callable[[str], None]) -> None:
    java, jars = find_java(), class_path(folder=REGISTRY, report=report)
    # Where it was, if that can be: clients know the address.
    port = port if port and is_free(port) else free_port()
    report(f"Starting the schema registry on {_url(port)}")
    _launch(settings, port, [str(java), *_OPTIONS, f"-Dquarkus.http.port={port}"], jars)


def _has_died(settings: Settings) -> bool:
    _, noted = _noted(settings)
    return noted is not None and not noted.is_running


def _launch(settings: Settings, port: int, java: list[str], jars: str) -> None:
    _end(settings)  # one that we lost track of: it holds the database
    marker = _marker(settings)
    command = [*java, "-Dquarkus.http.host=" + LOOPBACK, "-Dquarkus.http.access-log.enabled=false", marker]
    try:
        started = daemon.spawn(
            [*command, "-cp", jars, _MAIN], marker=marker, log=_log(settings), environment=environment()
        )
        _save(settings, port, started)
        _wait(started, port, _log(settings))
    except BaseException:  # Ctrl-C too
        _end(settings)
        raise


def _wait(started: Daemon, port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _answers(port):
        if not started.is_running or time.monotonic() > deadline:
            what = f"does not answer after {_START_SECONDS:.0f} s" if started.is_running else "ended while it started"
            raise ServiceError(f"the schema registry {what}", remedy=f"read {log}, then run `lakehouse up` again")
        time.sleep(_RETRY_SECONDS)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{_url(port)}/subjects", timeout=_ANSWER_SECONDS):  # noqa: S310 our own server
            return True
    except (urllib.error.URLError, OSError):
        return False


def _end(settings: Settings) -> None:
    if found := daemon.find(_marker(settings)):
        daemon.stop([found], patience=_STOP_SECONDS)


def _load(settings: Settings) -> tuple[int, Daemon | None]:
    """Its last port, 0 if it never had one; and its process, if it runs."""
    port, noted = _noted(settings)
    return port, noted if noted is not None and noted.is_running else None


def _noted(settings: Settings) -> tuple[int, Daemon | None]:
    """Its last port, 0 if it never had one; and the process that was started and not stopped, alive or not."""
    try:
        content = json.loads(_state(settings).read_bytes())
        port, pid = int(content["port"]), content.get("pid")
        if pid is None:
            return port, None
        return port, Daemon(pid=int(pid), created=float(content["created"]), marker=_marker(settings))
    except FileNotFoundError:
        return 0, None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ServiceError(
            f"{_state(settings)} is damaged ({type(error).__name__}: {error})",
            expected="the state that `lakehouse up` writes",
            remedy="delete that file and run `lakehouse up`: schemas are kept",
        ) from error


def _save(settings: Settings, port: int, started: Daemon | None) -> None:
    process = {} if started is None else {"pid": started.pid, "created": started.created}
    _state(settings).write_text(json.dumps({"port": port, **process}) + "\n")


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/apis/ccompat/v7"


def _folder(settings: Settings) -> Path:
    return settings.home / "services" / "registry"


def _state(settings: Settings) -> Path:
    return _folder(settings) / "registry.json"


def _log(settings: Settings) -> Path:
    return _folder(settings) / "registry.log"


def _marker(settings: Settings) -> str:
    """Where its schemas are: the argument that no other process has."""
    return f"-Dapicurio.datasource.url=jdbc:h2:file:{_folder(settings) / 'schemas'}"
