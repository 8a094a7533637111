"""Services that know who asks; each is started once for this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.production.services.cache import SecureCache, secure_cache
from tests.production.services.database import SecureDatabase, secure_database
from tests.production.services.kafka import SecureKafka, secure_kafka


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with secure_kafka(tmp_path_factory.mktemp("kafka"), brokers=1) as started:
        yield started


@pytest.fixture(scope="session")
def secured_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureCache]:
    with secure_cache(tmp_path_factory.mktemp("cache")) as started:
        yield started


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureDatabase]:
    with secure_database(tmp_path_factory.mktemp("database")) as started:
        yield started
