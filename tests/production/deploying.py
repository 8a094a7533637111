"""A new release takes over while a run is under way: no tick fails, the run ends well, and the new code is seen.

Minutes on a busy machine, so `make production-test` runs it and `make test` does not.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from dagster_project.launcher.daemon import lock
from dagster_project.services.lock import holder
from dagster_project.services.ports import LOOPBACK, free_port
from dagster_project.settings import Settings
from tests.integration.conftest import s3_variables
from tests.integration.lake import environment
from tests.live.store import store
from tests.production.processes import command, processes, waited
from tests.production.services.database import secure_database

LOG = logging.getLogger(__name__)
pytestmark = pytest.mark.timeout(900)
_BUCKET = "logs"
# A sensor of one second is looked at each second, and a tick takes a moment; several times that on a busy machine. The pause
# while the daemon changes hands is that of one look and of the first one.
_PAUSE_S = 30.0
# What the second daemon takes to import Dagster; if it is not ready the pause is longer by what remains of that.
_READY_S = 10.0
_RELEASES = "tests.production.release"
_QUESTION = "{ repositoriesOrError { ... on RepositoryConnection { nodes { pipelines { name description } } } } }"


@dataclass(frozen=True, kw_only=True)
class Seen:
    instance: dg.DagsterInstance

    def ticks(self) -> list[InstigatorTick]:
        """Those of the sensor, the oldest first."""
        (state,) = self.instance.all_instigator_state()
        found = self.instance.get_ticks(state.instigator_origin_id, state.selector_id)
        return sorted(found, key=lambda tick: tick.timestamp)

    def said(self) -> list[str | None]:
        """Which release each tick was answered by."""
        return [tick.skip_reason for tick in self.ticks()] if self.instance.all_instigator_state() else []

    def run(self) -> dg.DagsterRun | None:
        return next(iter(self.instance.get_runs()), None)

    def status(self) -> dg.DagsterRunStatus | None:
        found = self.run()
        return None if found is None else found.status


@pytest.fixture
def variables(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A platform of the production profile whose code location is one with releases."""
    with store() as stored, secure_database(tmp_path / "database") as database:
        stored.make(_BUCKET)
        # Check sums in chunks are for stores that ask for them.
        aws = s3_variables(stored.url) | {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required"}
        yield environment(
            home=tmp_path / "home",
            more={
                **aws,
                **database.variables(),
                "LAKEHOUSE_PROFILE": "production",
                # Nothing of the platform's own is running here, and the store speaks no TLS.
                "LAKEHOUSE_ALLOW_PLAINTEXT": "kafka,store",
                "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:1",
                "LAKEHOUSE_URI": f"s3://{_BUCKET}/lake",
                "LAKEHOUSE_COMPUTE_LOGS": f"s3://{_BUCKET}/runs",
                "LAKEHOUSE_CODE_SERVER_HOST": LOOPBACK,
                "LAKEHOUSE_CODE_SERVER_PORT": str(free_port()),
                "RELEASE_DONE": str(tmp_path / "done"),
            },
        )


def test_a_release_takes_over_without_a_pause(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, ui, done = int(variables["LAKEHOUSE_CODE_SERVER_PORT"]), free_port(), tmp_path / "done"
    settings = Settings.from_environment(variables)
    home = settings.dagster_home
    with processes(tmp_path) as start:
        server = command("code-server", port=port, module=_RELEASES)
        first = start("code-server-one", server, variables | {"RELEASE": "one"})
        waited(first.listens, "the code server of the first release")
        daemon = start("daemon-one", command("daemon"), variables | {"RELEASE": "one"})
        webserver = start("webserver", command("webserver", port=ui), variables)
        for name in (
            "DAGSTER_POSTGRES_URL",
            "LAKEHOUSE_COMPUTE_LOGS",
            *(key for key in variables if key[:4] == "AWS_"),
        ):
            monkeypatch.setenv(name, variables[name])
        waited((home / "dagster.yaml").exists, "the instance's configuration")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            seen = Seen(instance=instance)
            waited(lambda: "one" in seen.said(), f"a tick of the first release; {daemon.log}")
            waited(lambda: seen.status() is dg.DagsterRunStatus.STARTED, "a run")

            # The code: the new server beside the old one, which then answers what it was asked and ends.
            second = start("code-server-two", server, variables | {"RELEASE": "two"})
            waited(second.listens, "the code server of the second release")
            first.ask_to_end()
            waited(lambda: not first.alive, "the first code server's end")
            assert first.popen.returncode == 0, first.last_words()
            waited(lambda: seen.said()[-1] == "two", "a tick of the second release")
            waited(webserver.listens, "the webserver")
            waited(lambda: _described(ui) == "two", "the second release in the UI")

            # The daemon: the new one gets ready and waits; the old one hands over at once, and ends with its run.
            assert holder(lock(settings)) == daemon.pid
            successor = start("daemon-two", command("daemon"), variables | {"RELEASE": "two"})
            time.sleep(_READY_S)
            assert successor.alive, successor.last_words()
            daemon.ask_to_end()
            waited(lambda: holder(lock(settings)) == successor.pid, "the second daemon at work")
            before = len(seen.said())
            waited(lambda: len(seen.said()) > before + 2, "ticks of the second daemon")
            assert daemon.alive
            assert seen.status() is dg.DagsterRunStatus.STARTED
            done.touch()
            waited(lambda: seen.status() is dg.DagsterRunStatus.SUCCESS, "the run's end")
            waited(lambda: not daemon.alive, "the first daemon's end")
            assert daemon.popen.returncode == 0, daemon.last_words()

            # Nobody noticed: no tick failed, none was long in coming, and no release spoke after its successor.
            ticks = seen.ticks()
            assert {tick.status for tick in ticks} <= {TickStatus.SKIPPED, TickStatus.SUCCESS, TickStatus.STARTED}
            releases = [tick.skip_reason for tick in ticks if tick.skip_reason]
            assert releases == sorted(releases)
            pauses = [later.timestamp - earlier.timestamp for earlier, later in pairwise(ticks)]
            assert max(pauses) < _PAUSE_S
            LOG.info("%d ticks, the longest pause %.1f s", len(ticks), max(pauses))

            for process in (webserver, successor, second):
                process.ask_to_end()
                waited(lambda process=process: not process.alive, f"the end of {process.name}")
                assert process.popen.returncode == 0, process.last_words()


def test_a_release_that_cannot_be_loaded_never_answers(variables: dict[str, str], tmp_path: Path) -> None:
    port = int(variables["LAKEHOUSE_CODE_SERVER_PORT"])
    with processes(tmp_path) as start:
        broken = start(
            "code-server", command("code-server", port=port, module="tests.production.no_such_module"), variables
        )
        waited(lambda: not broken.alive, "the end of a server without definitions")

    assert broken.popen.returncode != 0
    assert "no_such_module" in broken.last_words()
    assert "Started" not in broken.last_words()


def _described(port: int) -> str:
    """What the UI says of the job."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{port}/graphql",
        data=json.dumps({"query": _QUESTION}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        told = json.load(answer)
    nodes = told["data"]["repositoriesOrError"]["nodes"]
    return next(job["description"] for node in nodes for job in node["pipelines"] if job["name"] == "lasting")
