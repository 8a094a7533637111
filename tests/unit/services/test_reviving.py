"""A process that dies is started again, and one that dies again and again is given up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
