"""The local schema registry: started where a contract needs one, with what it knows kept from start to start."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from dagster_project.contract.model import Dataset
from dagster_project.errors import ServiceError
from dagster_project.services.java import REGISTRY, class_path, find_java
from dagster_project.services.launch import environment
from dagster_project.services.ports import LOOPBACK
from dagster_project.services.single import Single
from dagster_project.settings import Settings
from dagster_project.variables.redact import without_secret

MAIN = "io.quarkus.runner.GeneratedMain"
# It takes 190 MB; of the optimizing compiler it has as little use as a broker.
OPTIONS = ("-Xmx256m", "-XX:+ExitOnOutOfMemoryError", "-XX:TieredStopAtLevel=1")
# A start takes 5 to 15 s, more on few cores beside other work.
_START_SECONDS = 120.0
_ANSWER_SECONDS = 5.0


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
    local = _local(settings)
    if local.running() is not None:
        return _url(local.noted()[0])
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
    if not settings.schema_registry_url:
        _local(settings).up(lambda port: _start(settings, port, report=report))
    return status(settings)


def revive(settings: Settings, *, report: Callable[[str], None]) -> None:
    """Start the local registry again if it has died. One that was never started, or was stopped by `down`, stays so.

    Raises:
        ServiceError: as of `up`.
    """
    if not settings.schema_registry_url:
        _local(settings).revive(lambda port: _start(settings, port, report=report), report=report)


def down(settings: Settings) -> RegistryStatus:
    """Stop the local registry; the schemas are kept."""
    if not settings.schema_registry_url:
        _local(settings).down()
    return status(settings)


def status(settings: Settings) -> RegistryStatus:
    if settings.schema_registry_url:
        return RegistryStatus(url=without_secret(settings.schema_registry_url), managed=False, pid=None, log=None)
    local = _local(settings)
    port, running = local.noted()[0], local.running()
    url = _url(port) if port else ""
    return RegistryStatus(url=url, managed=True, pid=running.pid if running else None, log=local.log)


def _start(settings: Settings, port: int, *, report: Callable[[str], None]) -> None:
    java, jars = find_java(), class_path(folder=REGISTRY, report=report)
    report(f"Starting the schema registry on {_url(port)}")
    local = _local(settings)
    command = [str(java), *OPTIONS, f"-Dquarkus.http.port={port}", f"-Dquarkus.http.host={LOOPBACK}"]
    command += ["-Dquarkus.http.access-log.enabled=false", local.marker, "-cp", jars, MAIN]
    local.launch(command, port, environment=environment(), answers=lambda: _answers(port), patience=_START_SECONDS)


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"{_url(port)}/subjects", timeout=_ANSWER_SECONDS):  # noqa: S310 our own server
            return True
    except (urllib.error.URLError, OSError):
        return False


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}/apis/ccompat/v7"


def _local(settings: Settings) -> Single:
    folder = settings.home / "services" / "registry"
    return Single(
        title="schema registry",
        folder=folder,
        # Where its schemas are.
        marker=f"-Dapicurio.datasource.url=jdbc:h2:file:{folder / 'schemas'}",
        kept="schemas are kept",
    )
