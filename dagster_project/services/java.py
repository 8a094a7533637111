"""Java, and the jars of what it runs here, which Maven resolves once: `python -m dagster_project.services.java`."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from dagster_project.errors import LakehouseError, ServiceError
from dagster_project.services.lock import exclusive
from dagster_project.settings import REPOSITORY

KAFKA = REPOSITORY / "deploy" / "kafka"
REGISTRY = REPOSITORY / "deploy" / "registry"
# What each folder's pom is for, and Maven's goal that fetches it.
_WHAT = {"registry": "Apicurio Registry", "kafka": "Apache Kafka"}
_GOALS = {"registry": "dependency:unpack", "kafka": "dependency:copy-dependencies"}
# Kafka's brokers need it since 4.0.
_MINIMUM_JAVA = 17
# Some 45 MB of jars for Kafka, 110 for the registry; a slow line takes minutes, and only a dead one longer.
_RESOLVE_SECONDS = 600.0
_COLOUR = re.compile(r"\x1b\[\d*m")


def find_java(environment: Mapping[str, str] = os.environ) -> Path:
    """The `java` of `JAVA_HOME`, or else of `PATH`, whichever first is new enough.

    Raises:
        ServiceError: there is none.
    """
    candidates: list[Path] = []
    if home := environment.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java", path=environment.get("PATH", os.defpath)):
        candidates.append(Path(on_path))
    found: list[str] = []
    for java in candidates:
        version = _version(java)
        if version >= _MINIMUM_JAVA:
            return java
        found.append(f"{java} is Java {version}" if version else f"{java} does not run")
    raise ServiceError(
        "; ".join(found) or "no java on the PATH or in JAVA_HOME",
        expected=f"Java {_MINIMUM_JAVA} or newer, to run Apache Kafka",
        remedy=_install("openjdk-17-jre-headless"),
    )


def class_path(
    *, folder: Path = KAFKA, environment: Mapping[str, str] = os.environ, report: Callable[[str], None]
) -> str:
    """The class path of Kafka's broker, or of what else a folder is for. Has Maven fetch the jars unless all those that `folder`'s pom asks for are there.

    Raises:
        ServiceError: Maven is missing, or cannot fetch them.
    """
    libs = folder / "target" / "libs"
    with exclusive(folder / "target" / "libs.lock", patience=_RESOLVE_SECONDS):
        if not _is_complete(folder, libs):
            report(f"Fetching {_WHAT[folder.name]}'s jars with Maven (once)")
            _resolve(folder, libs, environment)
    return str(libs / "*")


def _version(java: Path) -> int:
    """Major version, or 0 where it does not run."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(match[1]) if match else 0


def _stamp(folder: Path, libs: Path) -> str:
    """What the stamp says when all is there: the pom that was resolved, and the jars that it came to."""
    pom = hashlib.sha256((folder / "pom.xml").read_bytes()).hexdigest()
    return "\n".join([pom, *sorted(jar.name for jar in libs.glob("*.jar"))])


def _is_complete(folder: Path, libs: Path) -> bool:
    stamp = libs / "resolved"
    return stamp.is_file() and stamp.read_text() == _stamp(folder, libs)


def _resolve(folder: Path, libs: Path, environment: Mapping[str, str]) -> None:
    maven = shutil.which("mvn", path=environment.get("PATH", os.defpath))
    if maven is None:
        raise ServiceError(
            "no mvn on the PATH",
            expected=f"Maven, to fetch {_WHAT[folder.name]}'s jars",
            remedy=_install("maven"),
        )
    shutil.rmtree(libs, ignore_errors=True)  # of another version, or half of them
    command = [
        maven,
        "--quiet",
        "--batch-mode",
        "--strict-checksums",
        "-f",
        str(folder / "pom.xml"),
        _GOALS[folder.name],
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_RESOLVE_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer in {_RESOLVE_SECONDS:.0f} s"
    else:
        if done.returncode == 0:
            (libs / "resolved").write_text(_stamp(folder, libs))
            return
        # The first line says why; all others are advice on how to debug Maven.
        reason = _COLOUR.sub("", done.stdout + done.stderr).strip().partition("\n")[0]
    raise ServiceError(
        f"Maven could not fetch {_WHAT[folder.name]}'s jars: {reason}",
        remedy=f"check that Maven reaches its repository: {' '.join(command)}",
    )


def _install(package: str) -> str:
    return f"install it (Debian, Ubuntu: `apt-get install {package}`), or run `make setup`"


if __name__ == "__main__":
    try:
        find_java()
        class_path(report=print)
    except LakehouseError as error:
        sys.exit(str(error))
