"""Fixtures of the core's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dagster_project.contract.model import Catalog
from tests.unit.lakes import Lake, small_catalog

# Tables on disk take their time, more so on a busy machine; the same examples each time, so that a failure stays found.
settings.register_profile(
    "unit", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return small_catalog(tmp_path_factory.mktemp("contracts"))


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    return Lake.at(tmp_path / "lake", catalog=catalog)
