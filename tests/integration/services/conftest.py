"""Homes of local Kafka clusters, whose brokers end with the test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dagster_project.services import daemon, kafka, state
from dagster_project.settings import REPOSITORY, Settings

MakeHome = Callable[[], Settings]


def stop_all(home: Path) -> None:
    """Kill the services of a home, whatever its records say: a failed test must not leave one behind."""
    markers = [str(state.broker_folder(home, number) / "server.properties") for number in (1, 2, 3)]
    markers.append(str(home / "services" / "cache" / "valkey.conf"))
    daemon.stop([found for marker in markers if (found := daemon.find(marker))], patience=0)


@pytest.fixture(scope="module")
def make_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeHome]:
    homes: list[Path] = []

    def make() -> Settings:
        # As a person may name it: with a blank and beyond ASCII.
        home = tmp_path_factory.mktemp("services") / "Zoë's home"
        homes.append(home)
        (home / "contracts").mkdir(parents=True)
        # Its messages name no schema: `up` starts Kafka alone.
        shutil.copy(REPOSITORY / "contracts" / "orders.odcs.yaml", home / "contracts")
        return Settings(home=home, project=home, lake_uri=str(home / "lake"), bootstrap_servers="")

    yield make
    for home in homes:
        stop_all(home)


@pytest.fixture
def nothing_started(make_home: MakeHome) -> Settings:
    """A home in which no cluster was ever started."""
    return make_home()


@pytest.fixture(scope="module")
def one_broker_home(make_home: MakeHome) -> Settings:
    return make_home()


@pytest.fixture
def one_broker(one_broker_home: Settings) -> Settings:
    """A home whose cluster of one broker runs; tests may stop it."""
    kafka.up(one_broker_home, brokers=1)
    return one_broker_home
