"""A probe keeps what it saw, says since when it sees nothing, and looks only while somebody watches."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable

import pytest

from dagster_project.dashboard import probe as module
from dagster_project.dashboard.probe import Probe
from dagster_project.errors import KafkaError


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_was_seen_stays_when_looking_fails() -> None:
    answers: list[int | Exception] = [1, KafkaError("broker 7 is away"), OSError("http://me:secret@host"), 2]

    def look() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    probe = Probe("test", look, every_s=1)
    probe.look()
    first = probe.seen
    assert (first.value, first.failing_since, first.error) == (1, None, "")
    probe.look()
    failed = probe.seen
    assert (failed.value, failed.at, failed.error) == (1, first.at, "broker 7 is away")
    assert failed.failing_since is not None
    probe.look()
    assert (probe.seen.failing_since, probe.seen.error) == (failed.failing_since, "OSError")
    probe.look()
    assert (probe.seen.value, probe.seen.failing_since) == (2, None)


def test_a_look_that_hangs_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    release = threading.Event()
    probe = Probe("test", lambda: release.wait(20), every_s=0.01)
    probe.start()
    until(lambda: probe.seen.failing_since is not None)
    assert probe.seen.value is None
    release.set()
    until(lambda: probe.seen.failing_since is None)
    probe.stop()


def test_nobody_watches_and_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AWAKE_S", 0.05)
    looks: list[dt.datetime] = []
    probe = Probe("test", lambda: looks.append(dt.datetime.now(dt.UTC)), every_s=0.01)
    probe.start()
    until(lambda: bool(looks))
    time.sleep(0.3)
    seen = len(looks)
    time.sleep(0.2)
    assert len(looks) == seen
    probe.wake()
    until(lambda: len(looks) > seen)
    probe.stop()
