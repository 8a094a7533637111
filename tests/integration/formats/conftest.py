"""A real schema registry, and orders whose messages name schemas in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from dagster_project.contract.model import Format
from dagster_project.services import registry as service
from dagster_project.settings import REPOSITORY, Settings
from tests.integration.lake import Lake, unique


@pytest.fixture(scope="session")
def registry_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    home = tmp_path_factory.mktemp("registry")
    settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
    try:
        service.up(settings, report=print)
        yield settings
    finally:
        service.down(settings)


@pytest.fixture(scope="session")
def registry(registry_settings: Settings) -> str:
    return service.registry_url(registry_settings)


@pytest.fixture(scope="module")
def make_wired(make_lake: Callable[[str], Lake], registry: str) -> Callable[[Format], Lake]:
    """Makes lakes of orders in Confluent's wire format."""

    def make(written: Format) -> Lake:
        lake = make_lake("orders")
        topic = replace(
            lake.dataset.topic, name=unique("orders"), partitions=2, format=written, wire_format="confluent"
        )
        lake = replace(lake, dataset=replace(lake.dataset, topic=topic), registry=registry)
        lake.create_topic()
        return lake

    return make
