"""Runbooks about services that die: each is rehearsed with real ones of its own. Run by `make runbooks`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from dagster_project.services import kafka, registry
from dagster_project.settings import Settings
from tests.integration.lake import PATIENCE, environment
from tests.runbooks.on_a_broker import on_topic, send, work
from tests.runbooks.on_lakes import order
from tests.runbooks.page import runbooks
from tests.runbooks.rehearsal import State, rehearse
from tests.runbooks.shell import shell
from tests.runbooks.states import project

pytestmark = pytest.mark.timeout(900)


@contextmanager
def services(folder: Path) -> Generator[Settings]:
    """The local services of a home of its own; whatever the page has started is ended with them."""
    (folder / "contracts").mkdir(exist_ok=True)
    settings = Settings.from_environment(environment(home=folder / "home", project=folder))
    try:
        yield settings
    finally:
        _end_dagster(settings)
        registry.down(settings)
        kafka.down(settings)


@contextmanager
def broker_down(folder: Path) -> Generator[State]:
    """The only broker was killed."""
    with services(folder) as settings:
        servers = kafka.up(settings, brokers=1).bootstrap_servers
        on_topic(folder, servers)
        send(folder, servers, (order(n) for n in range(100)))
        work(folder, servers)
        kafka.stop_broker(settings, 1, kill=True)
        yield State(shell=shell(folder, {}))


@contextmanager
def schema_registry(folder: Path) -> Generator[State]:
    """The local registry was killed, and nobody looks after it."""
    project(folder, "payments")
    with services(folder) as settings:
        kafka.up(settings, brokers=1)
        pid = registry.up(settings, report=print).pid
        assert pid is not None
        process = psutil.Process(pid)
        process.kill()
        process.wait(PATIENCE)
        yield State(shell=shell(folder, {}))


@contextmanager
def stuck_run(folder: Path) -> Generator[State]:
    """After a restart of the machine nobody has started Dagster."""
    with services(folder) as settings:
        servers = kafka.up(settings, brokers=1).bootstrap_servers
        on_topic(folder, servers)
        send(folder, servers, (order(n) for n in range(100)))
        (settings.home / "services" / "dagster").mkdir(parents=True)
        yield State(shell=shell(folder, {}))


def _end_dagster(settings: Settings) -> None:
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("LAKEHOUSE_HOME") == str(settings.home) and "dev" in process.cmdline()
        except psutil.Error:  # gone meanwhile, or another user's
            continue
        if ours:
            process.send_signal(signal.SIGINT)
            process.wait(4 * PATIENCE)


STATES: Mapping[str, Callable[[Path], AbstractContextManager[State]]] = {
    "broker-down": broker_down,
    "schema-registry": schema_registry,
    "stuck-run": stuck_run,
}


@pytest.mark.parametrize("name", STATES)
def test_the_page_leads_out_of_the_state_that_it_describes(name: str, tmp_path: Path) -> None:
    with STATES[name](tmp_path) as state:
        rehearse(runbooks()[name], state)
