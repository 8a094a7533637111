"""Whether a run's process is still there, and how it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.test_utils import create_run_for_test

from dagster_project.launcher import launcher
from dagster_project.launcher.forks import PRELOADED
from dagster_project.launcher.launcher import ForkingRunLauncher

HOLD = """
import signal, sys, time
from pathlib import Path
from dagster_project.services.lock import exclusive
if "--deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with exclusive(Path(sys.argv[1]), patience=0):
    print(flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    home = tmp_path_factory.mktemp("instance")
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "run_launcher: {module: dagster_project.launcher.launcher, class: ForkingRunLauncher}\n"
    )
    with dg.DagsterInstance.from_config(str(home)) as found:
        yield found


def of(instance: dg.DagsterInstance) -> ForkingRunLauncher:
    found = instance.run_launcher
    assert isinstance(found, ForkingRunLauncher)
    return found


@contextmanager
def working(instance: dg.DagsterInstance, run: dg.DagsterRun, *options: str) -> Generator[psutil.Process]:
    """A process that holds the run's lock."""
    command = [sys.executable, "-c", HOLD, str(of(instance).mark(run.run_id)), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as found:
        assert found.stdout is not None
        found.stdout.readline()
        try:
            yield psutil.Process(found.pid)
        finally:
            found.kill()


def status(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


@pytest.mark.parametrize(("said", "drains"), [("", False), ("  config: {drain: true}\n", True)])
def test_whether_a_daemon_waits_for_its_runs_is_configured(tmp_path: Path, said: str, drains: bool) -> None:
    launched = "run_launcher:\n  module: dagster_project.launcher.launcher\n  class: ForkingRunLauncher\n"
    (tmp_path / "dagster.yaml").write_text(f"telemetry: {{enabled: false}}\n{launched}{said}")
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        assert of(made).drain is drains


def test_a_run_is_there_for_as_long_as_its_process_lives(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    checked = of(instance)
    assert checked.supports_check_run_worker_health
    assert checked.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND

    with working(instance, run) as process:
        found = checked.check_run_worker_health(run)
        assert found.status is WorkerStatus.RUNNING
        assert found.run_worker_id == str(process.pid)

    assert of(instance).mark(run.run_id).exists()  # nobody cleans up after a kill, and nobody needs to
    assert checked.check_run_worker_health(run).status is WorkerStatus.NOT_FOUND


@pytest.mark.parametrize("obstacle", ["none", "deaf", "stopped"])
def test_a_run_is_ended_even_if_it_does_not_listen(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    monkeypatch.setattr(launcher, "_END_S", 0.3)
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    with working(instance, run, "--deaf" if obstacle == "deaf" else "") as process:
        if obstacle == "stopped":
            process.send_signal(signal.SIGSTOP)

        assert instance.run_launcher.terminate(run.run_id)

        process.wait(10)
    assert status(instance, run) is dg.DagsterRunStatus.CANCELED
    assert not instance.run_launcher.terminate(run.run_id)


def test_a_run_without_a_process_cannot_be_asked_to_end(instance: dg.DagsterInstance) -> None:
    run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED)
    assert not instance.run_launcher.terminate(run.run_id)


def test_what_is_imported_before_the_fork_starts_no_thread() -> None:
    code = f"""
        import importlib, os
        for name in {PRELOADED!r}:
            importlib.import_module(name)
        print(len(os.listdir("/proc/self/task")))
    """
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["1"], os.linesep.join(PRELOADED)
