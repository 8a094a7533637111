"""Orders whose messages name schemas in a real registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from dagster_project.contract.model import Format
from tests.integration.lake import Lake, unique


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
