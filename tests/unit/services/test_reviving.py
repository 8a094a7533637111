"""A process that dies is started again, and one that dies again and again is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from dagster_project.errors import ServiceError
from dagster_project.services import revive
from dagster_project.services.revive import Service

PATIENCE = 20.0


def until(look: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def python(name: str, code: str, logs: Path) -> Service:
    return Service(name, [sys.executable, "-S", "-c", code], dict(os.environ), logs=logs)


def test_a_killed_process_is_started_again_at_once_and_the_log_tells(tmp_path: Path) -> None:
    service = python("sleeper", "import time; time.sleep(1000)", tmp_path)
    service.start()
    try:
        before = service.pid
        service.tend()
        assert service.pid == before
        os.kill(before, signal.SIGKILL)
        until(lambda: not service.alive)
        service.tend()
        assert service.alive
        assert service.pid != before
    finally:
        service.stop()
    assert not service.alive
    told = (tmp_path / "supervisor.log").read_text()
    assert f"process {before} died with code -9" in told
    assert f"started again as process {service.pid}" in told


def test_one_that_dies_again_and_again_is_given_up_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revive, "_BACKOFF_SECONDS", 0.01)
    service = python("broken", "raise SystemExit('no such thing')", tmp_path)
    service.start()

    def tended() -> bool:
        service.tend()
        return False

    with pytest.raises(ServiceError, match="no such thing") as raised:
        until(tended)
    assert "broken has died 5 times in a row" in raised.value.found
    assert service.log.read_text().count("no such thing") == 5


def test_a_death_after_a_long_life_is_a_new_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revive, "_QUICK_SECONDS", 0.0)
    service = python("mortal", "pass", tmp_path)
    service.start()
    for _ in range(8):
        until(lambda: not service.alive)
        service.tend()
    service.stop()
    assert (tmp_path / "supervisor.log").read_text().count("starting again in 0.0 s") == 8


_GUARDED = "from dagster_project.services.guard import end_with_supervisor; end_with_supervisor(); "
_SUPERVISOR = """
import os, sys, time
from pathlib import Path
from dagster_project.services.revive import Service
service = Service("guarded", [sys.executable, "-c", sys.argv[1]], dict(os.environ), logs=Path(sys.argv[2]))
service.start()
print(service.pid, flush=True)
time.sleep(1000)
"""


def test_a_process_ends_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    code = _GUARDED + "import time; print('at work', flush=True); time.sleep(1000)"
    command = [sys.executable, "-c", _SUPERVISOR, code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        process = psutil.Process(int(supervisor.stdout.readline()))
        until(lambda: "at work" in (tmp_path / "guarded.log").read_text())
        assert process.is_running()
        supervisor.kill()
    process.wait(PATIENCE)
    assert not process.is_running()


def test_a_process_that_ends_when_it_is_asked_to_says_so(tmp_path: Path) -> None:
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('ready', flush=True); signal.pause()"
    service = python("polite", code, tmp_path)
    service.start()
    until(lambda: "ready" in service.log.read_text())
    service.stop()
    assert service.code == 0
