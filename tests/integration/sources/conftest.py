"""A broker of Apache Kafka for these tests, and a new topic for each of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.services import kafka
from dagster_project.settings import REPOSITORY, Settings

# Far more than a request takes on a busy machine.
PATIENCE = 30.0
PARTITIONS = 4


@pytest.fixture(scope="session")
def datasets() -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in load_catalog(REPOSITORY / "contracts").datasets}


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("sources")
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    try:
        yield kafka.up(settings, brokers=1).bootstrap_servers
    finally:
        kafka.down(settings)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def create_topic(bootstrap: str) -> Iterator[Callable[[str], None]]:
    """Makes a topic that ends with the test."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    names: set[str] = set()

    def create(name: str) -> None:
        admin.create_topics([NewTopic(name, num_partitions=PARTITIONS, replication_factor=1)])[name].result(PATIENCE)
        names.add(name)

    yield create
    for deleted in admin.delete_topics(list(names)).values() if names else ():
        deleted.result(PATIENCE)


@pytest.fixture
def topic(create_topic: Callable[[str], None]) -> str:
    name = f"test.{uuid.uuid4()}"
    create_topic(name)
    return name
