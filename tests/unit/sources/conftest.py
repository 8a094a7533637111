"""The project's own contracts, which the sources follow."""

from __future__ import annotations

import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Dataset
from dagster_project.settings import REPOSITORY


@pytest.fixture(scope="session")
def datasets() -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in load_catalog(REPOSITORY / "contracts").datasets}
