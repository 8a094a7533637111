"""A real cache, and a lake of two days and regions beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_project.contract.model import Catalog
from dagster_project.services import cache as service
from dagster_project.services import daemon
from dagster_project.serving.cache import Cache
from dagster_project.settings import REPOSITORY, Settings
from tests.unit.lakes import Lake, reading, small_catalog

MakeServer = Callable[[], Settings]


@pytest.fixture(scope="module")
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Starts caches, each with a home of its own, whatever becomes of them."""
    homes: list[Path] = []

    def make() -> Settings:
        home = tmp_path_factory.mktemp("cache") / "Zoë's home"
        homes.append(home)
        settings = Settings(home=home, project=REPOSITORY, lake_uri=str(home / "lake"), bootstrap_servers="")
        service.up(settings, report=print)
        return settings

    yield make
    for home in homes:
        if (found := daemon.find(str(home / "services" / "cache" / "valkey.conf"))) is not None:
            daemon.stop([found], patience=0)


@pytest.fixture(scope="module")
def shared_server(make_server: MakeServer) -> Settings:
    """One that no test breaks."""
    return make_server()


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return small_catalog(tmp_path_factory.mktemp("contracts"))


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog) -> Lake:
    """Two days, two regions, and Gold over them."""
    found = Lake.at(tmp_path / "lake", catalog=catalog)
    rows = [("a", 1, "eu", 1), ("b", 1, "us", 2), ("c", 2, "eu", 3), ("d", 2, "us", 4)]
    found.arrive(
        *(
            reading(offset, name, day=day, region=region, level=level)
            for offset, (name, day, region, level) in enumerate(rows)
        )
    )
    found.refine()
    found.compute()
    return found


def cache_of(settings: Settings, lake: Lake) -> Cache:
    """As another process would have it."""
    return Cache(lambda: service.cache_url(settings), storage=lake.storage)
