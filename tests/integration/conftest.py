"""Real parts that all integration tests share: one Kafka broker, one schema registry and one S3 server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import s3fs

from dagster_project.services import kafka
from dagster_project.services import registry as registry_service
from dagster_project.services.ports import LOOPBACK
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import PATIENCE, Lake, free_port, own_lake

BUCKET = "lakehouse-tests"


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a cluster of one; each test has topics of its own."""
    home = tmp_path_factory.mktemp("broker")
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    try:
        yield kafka.up(settings, brokers=1).bootstrap_servers
    finally:
        kafka.down(settings)


@pytest.fixture(scope="session")
def registry_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("registry")
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    try:
        registry_service.up(settings, report=print)
        yield settings
    finally:
        registry_service.down(settings)


@pytest.fixture(scope="session")
def registry(registry_settings: Settings) -> str:
    return registry_service.registry_url(registry_settings)


@contextmanager
def s3_server(log: Path, settings: Mapping[str, str]) -> Generator[str]:
    """An S3 server; yields its URL."""
    port = free_port()
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(url, timeout=1).close()
                break
            except urllib.error.HTTPError as answer:  # it answers, if only with a refusal
                answer.close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(PATIENCE)


def s3_variables(url: str) -> dict[str, str]:
    """The standard AWS variables, with any credentials."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "a-test",
        "AWS_SECRET_ACCESS_KEY": "a-test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Root of a lake on S3; the variables that lead there are set for the rest of the session."""
    with s3_server(tmp_path_factory.mktemp("s3") / "server.log", {}) as url, pytest.MonkeyPatch.context() as patch:
        for name, value in s3_variables(url).items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # one that was made with other variables leads elsewhere
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"


@pytest.fixture(scope="session")
def refusing_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an S3 server that refuses every identity it does not know, which is all of them."""
    log = tmp_path_factory.mktemp("refusing-s3") / "server.log"
    with s3_server(log, {"INITIAL_NO_AUTH_ACTION_COUNT": "0"}) as url:
        yield url


@pytest.fixture(scope="session")
def make_lake(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Lake]:
    """Makes lakes on local disk, each with its topic: by name of the dataset."""

    def make(name: str) -> Lake:
        home = tmp_path_factory.mktemp(name)
        lake = own_lake(name, servers=broker, uri=str(home / "lake"), home=home)
        lake.create_topic()
        return lake

    return make
