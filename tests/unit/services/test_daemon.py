"""Which process is ours."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.services import daemon
from dagster_project.services.daemon import Daemon

SLEEP = "import time; print('ready', flush=True); time.sleep(60)"
PARENT = f"""
import os, sys, time
from pathlib import Path
from dagster_project.services.daemon import spawn
child = spawn([sys.executable, "-c", {SLEEP!r}, sys.argv[1]],
              marker=sys.argv[1], log=Path(sys.argv[1]) / "log", environment=os.environ)
print(child.pid, child.created, child.marker, flush=True)
time.sleep(60)
"""
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


def run(script: str, folder: Path) -> Daemon:
    log, marker = folder / "log", str(folder / "marker")
    command = [sys.executable, "-c", script, marker]
    started = daemon.spawn(command, marker=marker, log=log, environment=os.environ)
    while "ready" not in log.read_text():
        assert started.is_running, log.read_text()
    return started


@pytest.fixture
def sleeping(tmp_path: Path) -> Iterator[Daemon]:
    started = run(SLEEP, tmp_path)
    yield started
    daemon.stop([started], patience=0)


def test_a_started_process_runs_in_a_session_of_its_own_until_it_is_stopped(sleeping: Daemon) -> None:
    assert sleeping.is_running
    assert os.getsid(sleeping.pid) != os.getsid(0)

    daemon.stop([sleeping], patience=10)

    assert not sleeping.is_running


def test_another_process_of_the_same_pid_is_not_ours(sleeping: Daemon) -> None:
    stranger = dataclasses.replace(sleeping, created=sleeping.created - 3600)
    other_command = dataclasses.replace(sleeping, marker="/another/server.properties")

    assert not stranger.is_running
    assert not other_command.is_running

    daemon.stop([stranger, other_command], patience=0)
    assert sleeping.is_running


def test_a_process_that_ended_by_itself_is_not_running_though_nobody_waited_for_it(tmp_path: Path) -> None:
    ended = daemon.spawn(
        [sys.executable, "-c", "", "marker"], marker="marker", log=tmp_path / "log", environment=os.environ
    )
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # leaves the zombie

    assert not ended.is_running
    os.waitpid(ended.pid, 0)


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = run(STUBBORN, tmp_path)

    daemon.stop([stubborn], patience=0.2)

    assert not stubborn.is_running


def test_a_process_that_its_parent_takes_no_note_of_is_stopped_at_once(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid, created, marker = parent.stdout.readline().split()
        ours = Daemon(pid=int(pid), created=float(created), marker=marker)
        assert ours.is_running
        before = time.monotonic()

        daemon.stop([ours], patience=30)

        assert time.monotonic() - before < 10
        assert not ours.is_running
        parent.kill()


def test_a_process_is_found_by_its_marker(sleeping: Daemon) -> None:
    assert daemon.find(sleeping.marker) == sleeping
    assert daemon.find(f"{sleeping.marker}-of-nobody") is None


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for text in ("first", "second"):
        command = [sys.executable, "-c", f"print('{text}')"]
        os.waitpid(daemon.spawn(command, marker=text, log=log, environment=os.environ).pid, 0)

    assert log.read_text() == "second\n"
    assert (tmp_path / "log.1").read_text() == "first\n"
