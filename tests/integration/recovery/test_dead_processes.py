"""Dagster's processes are killed while a run is at work: it recovers by itself, and nothing is lost or doubled."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import dagster as dg
import psutil
import pytest

from dagster_project.contract.loader import load_catalog
from dagster_project.contract.model import Catalog
from dagster_project.lake.storage import Storage
from dagster_project.services import orchestrator
from dagster_project.services.orchestrator import Orchestra
from dagster_project.settings import REPOSITORY, Settings
from dagster_project.sources.orders import Orders
from tests.integration.lake import COMMAND_PATIENCE, Lake, unique

Found = TypeVar("Found")
EVENTS = 2_000
JOB = "ingest_orders"
LOG = logging.getLogger(__name__)

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A lake with Dagster at work on it."""

    lake: Lake
    orchestra: Orchestra
    instance: dg.DagsterInstance

    def runs(self) -> list[dg.RunRecord]:
        """Newest first."""
        return list(self.instance.get_run_records(dg.RunsFilter(job_name=JOB)))

    def worker(self) -> tuple[str, psutil.Process] | None:
        """A run that has started and its process."""
        for record in self.instance.get_run_records(
            dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.STARTED])
        ):
            for entry in self.instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
                pid = entry.get_dagster_event().engine_event_data.metadata.get("pid")
                if pid is not None:
                    return record.dagster_run.run_id, psutil.Process(int(str(pid.value)))
        return None

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status


def until(look: Callable[[], Found | None]) -> Found:
    deadline = time.monotonic() + COMMAND_PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def pipeline(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    home = tmp_path_factory.mktemp("recovery")
    (home / "contracts" / "marts").mkdir(parents=True)
    for name in ("orders.odcs.yaml", "marts/revenue_daily.odcs.yaml", "marts/revenue_daily.sql"):
        shutil.copy(REPOSITORY / "contracts" / name, home / "contracts" / name)
    contract = home / "contracts" / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("commerce.orders.v1", unique("commerce.orders.v1")))
    settings = Settings(home=home, project=home, lake_uri=str(home / "lake"), bootstrap_servers=broker)
    catalog: Catalog = load_catalog(settings.contracts)
    lake = Lake(
        catalog=catalog,
        dataset=catalog.dataset("orders"),
        servers=broker,
        storage=Storage.at(settings.lake_uri),
        home=home,
    )
    lake.create_topic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", broker)
        with (
            orchestrator.running(settings) as orchestra,
            dg.DagsterInstance.from_config(str(settings.dagster_home)) as instance,
        ):
            yield Pipeline(lake=lake, orchestra=orchestra, instance=instance)
    for process in psutil.process_iter():  # a failed test must not leave a stopped one behind
        with suppress(psutil.Error):
            if process.environ().get("LAKEHOUSE_HOME") == str(home):
                process.kill()


def produce(pipeline: Pipeline, seed: int) -> None:
    pipeline.lake.produce(Orders(dataset=pipeline.lake.dataset, events=EVENTS, seed=seed))


def accounted(pipeline: Pipeline) -> bool:
    found = pipeline.lake.account()
    return found.accounted and not found.pending and not found.gold_stale and found.silver_rows > 0


def stopped(pipeline: Pipeline) -> tuple[str, psutil.Process]:
    """A run in the middle of its work, for as long as the test wants."""
    run_id, worker = until(pipeline.worker)
    worker.send_signal(signal.SIGSTOP)
    return run_id, worker


def end(pipeline: Pipeline, name: str) -> None:
    """Kill one of Dagster's processes, and wait until another stands in for it."""
    before = pipeline.orchestra.pid(name)
    os.kill(before, signal.SIGKILL)
    until(lambda: pipeline.orchestra.pid(name) != before)
    assert "died with code -9" in (pipeline.orchestra.logs / "supervisor.log").read_text()


def test_a_killed_run_is_failed_at_once_and_another_does_its_work(pipeline: Pipeline) -> None:
    produce(pipeline, 0)
    run_id, worker = stopped(pipeline)
    worker.kill()
    killed = time.monotonic()

    until(lambda: pipeline.status(run_id) is dg.DagsterRunStatus.FAILURE)
    LOG.info("%.1f s after kill -9: the run is failed", time.monotonic() - killed)
    until(lambda: accounted(pipeline))
    LOG.info("%.1f s after kill -9: everything is accounted for", time.monotonic() - killed)
    assert pipeline.runs()[0].dagster_run.run_id != run_id


@pytest.mark.parametrize("name", ["code-server", "daemon"])
def test_a_run_outlives_the_process_that_started_it(pipeline: Pipeline, name: str) -> None:
    before = pipeline.lake.bronze().height
    runs = len(pipeline.runs())
    produce(pipeline, 1 if name == "daemon" else 2)
    run_id, worker = stopped(pipeline)

    end(pipeline, name)
    worker.send_signal(signal.SIGCONT)

    until(lambda: pipeline.status(run_id) is not dg.DagsterRunStatus.STARTED)
    assert pipeline.status(run_id) is dg.DagsterRunStatus.SUCCESS
    assert pipeline.lake.bronze().height == before + EVENTS
    assert len(pipeline.runs()) == runs + 1  # nobody else tried


def test_a_run_that_died_with_its_daemon_gives_way_to_a_new_one(pipeline: Pipeline) -> None:
    produce(pipeline, 3)
    run_id, worker = stopped(pipeline)
    before = pipeline.orchestra.pid("daemon")
    os.kill(before, signal.SIGKILL)
    worker.kill()
    killed = time.monotonic()

    until(lambda: pipeline.status(run_id) is dg.DagsterRunStatus.FAILURE)
    LOG.info("%.1f s after kill -9: the new daemon has failed the run", time.monotonic() - killed)
    until(lambda: accounted(pipeline))
    LOG.info("%.1f s after kill -9: everything is accounted for", time.monotonic() - killed)
