"""The sensor: one tick from Dagster's own storage, the lake and the broker to a notification; it launches nothing."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from structlog.testing import capture_logs

from dagster_project.alerts.journal import open_alerts
from dagster_project.alerts.kinds import KINDS, QUIET
from dagster_project.alerts.watch import local_path
from dagster_project.checks import accounting
from dagster_project.contract.model import Catalog
from dagster_project.definitions import build
from dagster_project.resources.cache import CacheResource
from dagster_project.resources.kafka import KafkaResource
from dagster_project.resources.lake import LakeResource
from dagster_project.sensors import alerts as sensors
from dagster_project.settings import Settings
from tests.unit.lakes import Lake, reading

# Nothing listens there.
NOBODY = "127.0.0.1:1"


class Clock:
    """Time that a test moves on."""

    moment = dt.datetime.now(dt.UTC)


@pytest.fixture
def settings(tmp_path: Path, lake: Lake) -> Settings:
    return Settings(home=tmp_path / "home", project=tmp_path, lake_uri=lake.storage.uri, bootstrap_servers=NOBODY)


@pytest.fixture
def repository(catalog: Catalog, settings: Settings) -> dg.RepositoryDefinition:
    return build(catalog, settings).get_repository_def()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


class Ticks:
    """Ticks of the sensor, each with the cursor of the one before."""

    def __init__(
        self, repository: dg.RepositoryDefinition, lake: Lake, instance: dg.DagsterInstance, home: Path
    ) -> None:
        self._repository, self._lake, self._instance = repository, lake, instance
        self._cache = CacheResource(home=str(home), uri=lake.storage.uri)
        self.cursor: str | None = None

    def __call__(self) -> str:
        resources = {
            "lake": LakeResource(uri=self._lake.storage.uri),
            "kafka": KafkaResource(servers=NOBODY),
            "cache": self._cache,
        }
        context = dg.build_sensor_context(
            self._instance, cursor=self.cursor, resources=resources, repository_def=self._repository
        )
        found = self._repository.get_sensor_def("alerts")(context)
        assert isinstance(found, dg.SensorResult)
        assert not found.run_requests
        assert found.skip_reason is not None
        self.cursor = found.cursor
        text = found.skip_reason.skip_message
        assert text is not None
        return text


@pytest.fixture
def tick(
    repository: dg.RepositoryDefinition,
    lake: Lake,
    instance: dg.DagsterInstance,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> Ticks:
    Clock.moment = dt.datetime.now(dt.UTC)
    monkeypatch.setattr(sensors, "_now", lambda: Clock.moment)
    return Ticks(repository, lake, instance, settings.home)


def answer(patch: pytest.MonkeyPatch) -> None:
    """There is a broker, and it has nothing to say of topics."""
    patch.setattr("dagster_project.alerts.probes.registered", lambda *_, **__: ("a cluster", frozenset({1})))
    patch.setattr("dagster_project.alerts.look.horizons", lambda *_, **__: [])


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch)


def test_a_dead_broker_is_told_once_and_resolved(
    tick: Ticks, lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.arrive(reading(0, "a"))
    monkeypatch.setattr("dagster_project.alerts.probes._BROKER_S", 0.2)
    with capture_logs() as logs:
        assert tick() == "nothing is wrong"  # it may pass
        Clock.moment += KINDS["broker-down"].hold
        assert tick() == "broker-down: new; 1 open: broker-down"
        assert [alert.alert for alert in open_alerts(lake.storage)] == ["broker-down"]
        assert tick() == "1 open: broker-down"
        answer(monkeypatch)
        Clock.moment += dt.timedelta(seconds=10)
        tick()
        Clock.moment += QUIET
        assert tick() == "broker-down: resolved"
    assert [(line["alert"], line["state"]) for line in logs] == [("broker-down", "new"), ("broker-down", "resolved")]
    assert json.loads(local_path(settings.home).read_text())["unsaved"] == []


@pytest.mark.usefixtures("broker")
def test_work_whose_run_has_failed_and_is_then_done_by_another_job(
    tick: Ticks, repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, lake: Lake
) -> None:
    def catch_up() -> None:
        resources = {"lake": LakeResource(uri=lake.storage.uri)}
        job = repository.get_job("catch_up_readings")
        job.execute_in_process(instance=instance, raise_on_error=False, resources=resources)

    lake.arrive(reading(0, "a", level=1))
    path = Path(lake.storage.uri) / "bronze" / "readings"
    (parquet,) = path.rglob("*.parquet")
    content = parquet.read_bytes()
    parquet.write_bytes(b"broken")
    catch_up()
    Clock.moment = dt.datetime.now(dt.UTC) + KINDS["failed-run"].hold
    tick()
    (found,) = open_alerts(lake.storage)
    assert str(found.id) == "failed-run readings/refine"
    assert "catch_up_readings has failed" in found.summary
    (record,) = instance.get_run_records()
    assert found.correlation_id == record.dagster_run.run_id
    parquet.write_bytes(content)
    catch_up()
    tick()
    Clock.moment += QUIET
    assert tick() == "failed-run readings/refine: resolved"


def report(instance: dg.DagsterInstance, *, passed: bool, error: str = "") -> None:
    metadata = {"problems": "3 offsets have no place"} | ({accounting.ERROR: error} if error else {})
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(["bronze", "readings"]),
            check_name=accounting.NAME,
            passed=passed,
            metadata=metadata,
        )
    )


@pytest.mark.usefixtures("broker")
def test_offsets_without_a_place(tick: Ticks, instance: dg.DagsterInstance, lake: Lake) -> None:
    report(instance, passed=False, error="KafkaError")  # nobody could say
    Clock.moment += dt.timedelta(minutes=5)
    assert tick() == "nothing is wrong"
    report(instance, passed=False)
    Clock.moment += dt.timedelta(minutes=5)
    tick()
    (found,) = open_alerts(lake.storage)
    assert (str(found.id), found.severity) == ("ledger-imbalance readings", "critical")
    assert "3 offsets have no place" in found.summary
    report(instance, passed=True)
    tick()
    Clock.moment += QUIET
    assert tick() == "ledger-imbalance readings: resolved"


@pytest.mark.usefixtures("broker")
def test_the_check_says_what_kind_of_error_stopped_it(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance, lake: Lake
) -> None:
    resources = {"lake": LakeResource(uri=lake.storage.uri), "kafka": KafkaResource()}
    lake.arrive(reading(0, "a"))
    found = repository.get_job("verify_readings").execute_in_process(instance=instance, resources=resources)
    (evaluation,) = found.get_asset_check_evaluations()
    assert not evaluation.passed
    assert evaluation.metadata[accounting.ERROR].value in sensors._NO_ANSWER


@pytest.mark.usefixtures("broker")
def test_a_configuration_with_mistakes_does_not_silence_anybody(
    tick: Ticks, settings: Settings, instance: dg.DagsterInstance
) -> None:
    (settings.project / "alerts.yaml").write_text("sinks: {pager: {type: pigeon}}")
    report(instance, passed=False)
    with capture_logs() as logs:
        Clock.moment += dt.timedelta(minutes=5)
        text = tick()
    assert "alerts go to the log only" in text
    assert "alerts.yaml:1" in text
    assert [line["alert"] for line in logs] == ["ledger-imbalance"]


@pytest.mark.usefixtures("broker")
def test_a_sink_that_fails_is_seen_in_the_tick(tick: Ticks, settings: Settings, instance: dg.DagsterInstance) -> None:
    (settings.project / "alerts.yaml").write_text("sinks: {hook: {type: webhook, url: 'http://127.0.0.1:1/'}}")
    report(instance, passed=False)
    Clock.moment += dt.timedelta(minutes=5)
    assert "sink hook has failed 1 times in a row" in tick()
    assert "does not answer" in tick()


def test_jobs_of_the_catalog_are_told_by_their_work(catalog: Catalog) -> None:
    dataset = catalog.datasets[0]
    second = replace(dataset, version="2.0.0")
    jobs = sensors._jobs(replace(catalog, successors=(second,)))
    assert jobs["ingest_readings"] == ("readings", "ingest")
    assert jobs["refine_readings"] == jobs["catch_up_readings"] == ("readings", "refine")
    assert jobs["catch_up_readings_v2"] == ("readings", "refine_v2")
    assert jobs["aggregate_levels"] == ("readings", "levels")
