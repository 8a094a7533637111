"""One small world, delivered in every way: each mart equals its oracle, and all of them each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from dagster_project.settings import PSEUDONYM_KEYS
from dagster_project.sources.retail.world import World
from tests.retail.deliveries import compare

WORLD = World(orders=30, seed=2, days=2, refunds=0.2, chargebacks=0.1)


def test_every_mart_is_its_oracle_however_the_events_came(
    broker: str, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PSEUDONYM_KEYS, "test:" + "a2V5" * 11)
    found = compare(
        WORLD, home=tmp_path, servers=broker, registry=registry, batches=3, track=lambda steps: steps, report=print
    )
    assert found["problems"] == []
    assert min(found["marts"].values()) > 0
