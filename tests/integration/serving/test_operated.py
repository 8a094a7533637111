"""What is served, as Dagster's UI and the command show it: published by runs, looked after by a sensor."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import dagster as dg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from dagster_project.assets.partitions import partition_name
from dagster_project.cli.main import app
from dagster_project.definitions import build
from dagster_project.lake.keys import Key
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.lake import LakeResource
from dagster_project.services import cache as service
from dagster_project.serving import breaker, heal
from dagster_project.serving.reader import Reader
from dagster_project.settings import Settings
from tests.integration.lake import PATIENCE
from tests.integration.serving.conftest import MakeServer, cache_of
from tests.unit.lakes import CONTRACT, MART, SQL, Lake, reading, write_project

SERVED = dg.AssetKey(["serving", "levels"])
GOLD = dg.AssetKey(["gold", "levels"])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker, "RESET_S", 0.1)
    monkeypatch.setattr(heal, "GRACE", dt.timedelta(0))


@pytest.fixture
def server(make_server: MakeServer, lake: Lake) -> Settings:
    return replace(make_server(), lake_uri=lake.storage.uri)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


@pytest.fixture
def definitions(server: Settings, lake: Lake) -> dg.Definitions:
    return build(lake.catalog, server)


def tick(
    definitions: dg.Definitions, server: Settings, instance: dg.DagsterInstance, cursor: str | None = None
) -> dg.SensorResult | dg.SkipReason:
    resources = {
        "lake": LakeResource(uri=server.lake_uri),
        "cache": CacheResource(home=str(server.home), uri=server.lake_uri),
    }
    context = dg.build_sensor_context(instance, cursor=cursor, resources=resources)
    found = definitions.resolve_sensor_def("serving")(context)
    assert isinstance(found, (dg.SensorResult, dg.SkipReason))
    return found


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill(server: Settings) -> None:
    pid = service.status(server).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: service.status(server).pid is None)


def source(server: Settings, lake: Lake) -> str:
    return Reader(storage=lake.storage, cache=cache_of(server, lake)).read(lake.mart).source


def test_a_run_publishes_what_it_commits_and_fails_for_no_cache(
    definitions: dg.Definitions, server: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    key = partition_name(Key(dt.date(2026, 1, 2), "us"))
    job = definitions.resolve_job_def("refine_readings")
    done = job.execute_in_process(instance=instance, partition_key=key)
    (told,) = done.asset_materializations_for_node("gold__levels")
    assert str(told.metadata["cache"].value).startswith("version 2: 4 table partitions, 4 rows, ")
    assert source(server, lake) == "cache"

    kill(server)
    lake.arrive(reading(5, "f", day=2, region="us", level=400))
    done = job.execute_in_process(instance=instance, partition_key=key)
    assert done.success
    (told,) = done.asset_materializations_for_node("gold__levels")
    assert "unavailable since " in str(told.metadata["cache"].value)
    assert source(server, lake) == "gold"


def test_catching_up_publishes_too_and_tells_it(
    definitions: dg.Definitions,
    server: Settings,
    lake: Lake,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dagster_project.assets.catch_up.IDLE_SECONDS", 0)
    lake.arrive(reading(4, "e", day=2, region="us", level=40))
    assert definitions.resolve_job_def("catch_up_readings").execute_in_process(instance=instance).success
    assert source(server, lake) == "cache"
    (event,) = instance.fetch_materializations(GOLD, limit=1).records
    assert event.asset_materialization is not None
    assert str(event.asset_materialization.metadata["cache"].value).startswith("version 2: 4 table partitions")


def test_the_sensor_fills_what_is_missing_and_tells_it_once(
    definitions: dg.Definitions, server: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    first = tick(definitions, server, instance)
    assert isinstance(first, dg.SensorResult)
    (event,) = first.asset_events
    assert isinstance(event, dg.AssetMaterialization)
    assert event.asset_key == SERVED
    assert {name: event.metadata[name].value for name in ("delta_version", "dagster/row_count", "whole", "by")} == {
        "delta_version": 1,
        "dagster/row_count": 4,
        "whole": True,
        "by": "sensor",
    }
    assert source(server, lake) == "cache"
    second = tick(definitions, server, instance, first.cursor)
    assert isinstance(second, dg.SensorResult)
    assert second.asset_events == []
    assert SERVED in {spec.key for spec in definitions.resolve_all_asset_specs()}


def test_a_cache_that_is_back_is_filled_without_a_run(
    definitions: dg.Definitions, server: Settings, lake: Lake, instance: dg.DagsterInstance
) -> None:
    tick(definitions, server, instance)
    kill(server)
    skipped = tick(definitions, server, instance)
    assert isinstance(skipped, dg.SkipReason)
    assert "does not answer" in (skipped.skip_message or "")
    assert source(server, lake) == "gold"
    service.revive(server, report=print)
    until(lambda: isinstance(tick(definitions, server, instance), dg.SensorResult))
    assert source(server, lake) == "cache"
    assert instance.get_runs_count() == 0


def test_where_there_is_no_cache_the_sensor_rests(
    definitions: dg.Definitions, server: Settings, instance: dg.DagsterInstance
) -> None:
    elsewhere = replace(server, home=server.home / "elsewhere")
    skipped = tick(definitions, elsewhere, instance)
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "no cache"


@pytest.fixture
def run(server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `lakehouse serve` in the server's home, over the lake."""
    files = {"readings.odcs.yaml": CONTRACT, "levels.odcs.yaml": MART, "levels.sql": SQL}
    write_project(server.home / "contracts", files)
    for name, value in {"HOME": server.home, "PROJECT": server.home, "URI": lake.storage.uri}.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", str(value))
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["serve", *arguments])


def test_the_command_tells_and_fills(run: Callable[..., Result], server: Settings, lake: Lake) -> None:
    empty = run("status", "--json")
    (copy,) = json.loads(empty.stdout)["marts"]
    assert (empty.exit_code, copy["gold"], copy["cached"], copy["current"]) == (1, 1, -1, False)
    assert run("status").stdout.splitlines()[-1].split()[:4] == [
        "levels",
        "1",
        "missing",
        f"{lake.gold.committed_at():%F}",
    ]

    filled = run("rebuild", "levels")
    assert (filled.exit_code, filled.stdout.partition(" rows")[0]) == (0, "levels: version 1: 4 table partitions, 4")
    assert source(server, lake) == "cache"
    again = json.loads(run("rebuild", "--json").stdout)
    assert [done["state"] for done in again] == ["published"]
    there = run("status")
    assert there.exit_code == 0
    assert f"Cache: {service.status(server).url}, available, breaker closed" in there.stdout
    told = there.stdout.splitlines()[-1].split()
    assert (told[:4], told[-1]) == (["levels", "1", "1", "current"], "4")

    kill(server)
    gone = run("status")
    assert gone.exit_code == 1
    assert "unavailable since 20" in gone.stdout
    assert gone.stdout.splitlines()[-1].split()[:3] == ["levels", "1", "unknown"]
    refused = run("rebuild")
    assert refused.exit_code == 1
    assert "does not answer" in refused.stderr


def test_a_cache_of_your_own_is_used_and_its_password_shown_to_nobody(
    run: Callable[..., Result], server: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = service.cache_url(server)
    password = url.partition("@")[0].rpartition(":")[2]
    monkeypatch.setenv("LAKEHOUSE_HOME", str(server.home / "elsewhere"))
    monkeypatch.setenv("REDIS_URL", url)
    assert run("rebuild").exit_code == 0
    shown = run("status").stdout + run("status", "--json").stdout + repr(Settings.from_environment())
    assert password not in shown
    assert service.status(server).url in shown
    own = Settings.from_environment()
    assert service.up(own, report=pytest.fail) == service.down(own) == service.status(own)
    service.revive(own, report=pytest.fail)
    assert source(server, lake) == "cache"
