"""The world of the chaos tests: three brokers and an S3 server behind our proxy, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.world import World, world


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("chaos")) as found:
        yield found
