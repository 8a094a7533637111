"""The real parts that all faults share: three Kafka brokers, an S3 server, and our proxy before it."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import s3fs

from dagster_project.services import kafka
from dagster_project.settings import REPOSITORY, Settings
from tests.chaos.proxy import Proxy, proxy
from tests.integration.conftest import s3_server, s3_variables

BROKERS = 3


@dataclass(frozen=True, kw_only=True)
class World:
    """Attributes: `direct` is the S3 server without the proxy, by which verdicts read."""

    settings: Settings
    servers: str
    proxy: Proxy
    direct: str

    @property
    def home(self) -> Path:
        return self.settings.home

    def bucket(self, name: str) -> str:
        """Make a bucket. The S3 server looks at all objects of a bucket to list a few, so each scene has one of its own."""
        bucket = name.replace(".", "-")
        s3fs.S3FileSystem(endpoint_url=self.direct, skip_instance_cache=True).mkdir(bucket)
        return bucket

    def mend(self) -> None:
        """Start the brokers that are down."""
        kafka.up(self.settings, brokers=BROKERS)


@contextmanager
def world(home: Path) -> Generator[World]:
    """Start everything; the variables that lead to the S3 server through the proxy are set meanwhile."""
    home.mkdir(parents=True, exist_ok=True)
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    with s3_server(home / "s3.log", {}) as url, proxy(urlsplit(url).port or 0) as front:
        s3fs.S3FileSystem.clear_instance_cache()  # one that was made with other variables leads elsewhere
        with _variables({**s3_variables(front.url), "AWS_MAX_ATTEMPTS": "3"}):
            try:
                servers = kafka.up(settings, brokers=BROKERS).bootstrap_servers
                yield World(settings=settings, servers=servers, proxy=front, direct=url)
            finally:
                kafka.down(settings)
                s3fs.S3FileSystem.clear_instance_cache()


@contextmanager
def _variables(values: Mapping[str, str]) -> Generator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
