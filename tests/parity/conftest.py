"""Fixtures of the parity suite."""

from __future__ import annotations

import base64
from collections.abc import Generator

import pytest

from tests.parity.session import Session, spark


@pytest.fixture(scope="session")
def session() -> Generator[Session]:
    with spark() as session:
        yield session


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_PSEUDONYM_KEYS", f"test:{base64.b64encode(bytes(range(32))).decode()}")
