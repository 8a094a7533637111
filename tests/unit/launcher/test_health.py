"""Whether a run's process is still there, asked of a real code server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test

from dagster_project import launcher
from dagster_project.launcher import CheckedRunLauncher
from dagster_project.services.ports import LOOPBACK, free_port


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    home = tmp_path_factory.mktemp("instance")
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\nrun_launcher: {module: dagster_project.launcher, class: CheckedRunLauncher}\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


@contextmanager
def process(*arguments: str, file: Path) -> Generator[psutil.Process]:
    """A process that has a file open."""
    code = "import sys, time; file = open(sys.argv[1]); print(flush=True); time.sleep(1000)"
    file.touch()
    command = [sys.executable, "-S", "-c", code, str(file), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as found:
        assert found.stdout is not None
        found.stdout.readline()
        try:
            yield psutil.Process(found.pid)
        finally:
            found.kill()


def started(instance: dg.DagsterInstance) -> dg.DagsterRun:
    """A run of a code server that does not answer."""
    tags = {GRPC_INFO_TAG: json.dumps({"host": LOOPBACK, "port": free_port()})}
    return create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=tags)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_an_unreachable_server_is_waited_for_and_then_its_process_is_ended(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = instance.run_launcher
    assert isinstance(checked, CheckedRunLauncher)
    assert checked.supports_check_run_worker_health
    run = started(instance)
    with process("--multiprocessing-fork", file=tmp_path / f"{run.run_id}.out") as worker:
        assert checked.check_run_worker_health(run).status is WorkerStatus.RUNNING
        assert not gone(worker)

        monkeypatch.setattr(launcher, "_GRACE_S", 0.0)
        found = checked.check_run_worker_health(run)

        assert found.status is WorkerStatus.NOT_FOUND
        assert f"process {worker.pid} was ended" in str(found.msg)
        worker.wait(10)


@pytest.mark.parametrize("mine", [True, False])
def test_a_process_that_only_reads_the_runs_files_or_is_of_another_run_is_left_alone(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mine: bool
) -> None:
    monkeypatch.setattr(launcher, "_GRACE_S", 0.0)
    run = started(instance)
    name, arguments = (run.run_id, ()) if mine else ("another", ("--multiprocessing-fork",))
    with process(*arguments, file=tmp_path / f"{name}.out") as reader:
        found = instance.run_launcher.check_run_worker_health(run)

        assert found.status is WorkerStatus.NOT_FOUND
        assert not gone(reader)


def test_a_run_that_names_no_server_counts_as_lost(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    assert instance.run_launcher.check_run_worker_health(run).status is WorkerStatus.UNKNOWN
