"""The world of the chaos tests: three brokers and an S3 server behind our proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.world import World, world


# Not for the session: the variables that lead to its S3 server must be gone before other tests use theirs.
@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("chaos")) as found:
        yield found
