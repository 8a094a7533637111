"""Finding Java and fetching jars, with small scripts in place of `java` and `mvn`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dagster_project.errors import ServiceError
from dagster_project.services.java import class_path, find_java

# Makes the jars where the real one would, and counts its calls.
MAVEN = """
while [ "$1" != -f ]; do shift; done
target=$(dirname "$2")/target
echo call >> "$target/../calls"
mkdir -p "$target/libs"
touch "$target/libs/a.jar" "$target/libs/b.jar"
"""


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def java(folder: Path, version: str) -> Path:
    return program(folder / "bin" / "java", f"echo 'openjdk version \"{version}\"' >&2")


@pytest.fixture
def kafka(tmp_path: Path) -> Path:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "kafka" / "pom.xml").write_text("<project/>")
    return tmp_path / "kafka"


def path_with(tmp_path: Path, maven: str) -> dict[str, str]:
    program(tmp_path / "bin" / "mvn", maven)
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def calls(kafka: Path) -> int:
    return len((kafka / "calls").read_text().splitlines())


def test_java_home_comes_first(tmp_path: Path) -> None:
    home, path = java(tmp_path / "home", "17.0.1"), java(tmp_path / "path", "21")

    environment = {"JAVA_HOME": str(tmp_path / "home"), "PATH": str(path.parent)}

    assert find_java(environment) == home


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2"])
def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path, version: str) -> None:
    old, new = java(tmp_path / "home", version), java(tmp_path / "path", "21-ea")

    assert find_java({"JAVA_HOME": str(tmp_path / "home"), "PATH": str(new.parent)}) == new
    with pytest.raises(ServiceError, match=rf"is Java {version.removeprefix('1.').split('.')[0]}\n"):
        find_java({"PATH": str(old.parent)})


def test_a_missing_java_is_an_error_that_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r"no java on the PATH.*\n.*\n.*openjdk-17-jre-headless"):
        find_java({"PATH": str(tmp_path)})


def test_a_missing_maven_is_an_error_that_names_the_package(tmp_path: Path, kafka: Path) -> None:
    with pytest.raises(ServiceError, match=r"no mvn on the PATH\n.*\n.*apt-get install maven"):
        class_path(folder=kafka, environment={"PATH": str(tmp_path)}, report=print)


def test_jars_are_fetched_once(tmp_path: Path, kafka: Path) -> None:
    environment = path_with(tmp_path, MAVEN)
    told: list[str] = []

    for _ in range(2):
        assert class_path(folder=kafka, environment=environment, report=told.append) == str(kafka / "target/libs/*")

    assert calls(kafka) == 1
    assert len(told) == 1


def test_jars_are_fetched_again_when_the_pom_changes_or_one_is_lost(tmp_path: Path, kafka: Path) -> None:
    environment = path_with(tmp_path, MAVEN)
    class_path(folder=kafka, environment=environment, report=print)
    old = kafka / "target" / "libs" / "of-another-version.jar"

    old.touch()
    (kafka / "pom.xml").write_text("<project></project>")
    class_path(folder=kafka, environment=environment, report=print)
    assert calls(kafka) == 2
    assert not old.exists()

    (kafka / "target" / "libs" / "a.jar").unlink()
    class_path(folder=kafka, environment=environment, report=print)
    assert calls(kafka) == 3


def test_mavens_reason_is_shown_and_a_failed_attempt_is_made_again(tmp_path: Path, kafka: Path) -> None:
    with pytest.raises(ServiceError, match=r"could not fetch .*: no route to host"):
        class_path(
            folder=kafka, environment=path_with(tmp_path, f"{MAVEN} echo no route to host; exit 1"), report=print
        )

    class_path(folder=kafka, environment=path_with(tmp_path, MAVEN), report=print)
    assert calls(kafka) == 2
