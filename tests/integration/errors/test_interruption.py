"""Ctrl-C at any moment of a demo: it ends at once, leaves nothing behind, and the next one finishes the work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from dagster_project.settings import REPOSITORY
from tests.integration.lake import COMMAND_PATIENCE, command, environment, lakehouse, unique

EVENTS = 60_000
DEMO = ("demo", "--dataset", "orders", "--events", str(EVENTS), "--json")
# Dagster's daemon is given 10 s to end, and the code server as long.
QUICKLY_SECONDS = 25.0

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A home, and a project whose topic is its own."""

    home: Path
    variables: dict[str, str]


@pytest.fixture(scope="module")
def place(broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("interruption")
    shutil.copytree(REPOSITORY / "contracts", root / "contracts")
    contract = root / "contracts" / "orders.odcs.yaml"
    contract.write_text(contract.read_text().replace("commerce.orders.v1", unique("commerce.orders.v1")))
    found = Place(home=root / "home", variables=environment(home=root / "home", project=root, servers=broker))
    yield found
    for process in processes_of(found, with_cache=True):  # a failed test must not leave one behind
        process.kill()


def processes_of(place: Place, *, with_cache: bool = False) -> list[psutil.Process]:
    """All processes that were started for this home; the cache stays as a broker does, until `lakehouse down`."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAKEHOUSE_HOME") != str(place.home) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if with_cache or process.name() != "valkey-server":
                found.append(process)
        except psutil.Error:  # gone meanwhile, or another user's
            continue
    return found


def early(place: Place) -> bool:
    """Python has started, and not much more."""
    return len(processes_of(place)) == 1


def producing(place: Place) -> bool:
    """Some events are on the broker, and not all of them."""
    return any(log.stat().st_size for log in (place.home / "oracle").rglob("*.ndjson"))


def refining(place: Place) -> bool:
    """Bronze has rows, and Silver is being made of them."""
    return (place.home / "lake" / "silver" / "orders" / "_delta_log").is_dir()


@pytest.mark.parametrize("moment", [early, producing, refining])
def test_ctrl_c_ends_a_demo_at_once_and_leaves_no_process(place: Place, moment: Callable[[Place], bool]) -> None:
    process = subprocess.Popen(
        command(*DEMO),
        env=place.variables,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,  # as a shell does it
    )
    with process:
        deadline = time.monotonic() + COMMAND_PATIENCE
        while not moment(place):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        if moment is early:
            time.sleep(1)  # past Python's own start, where nobody can handle a signal
        interrupted = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=COMMAND_PATIENCE)

    # Python ends by the signal itself where Ctrl-C met it within an `exec`, as imports have it; to a shell both are 130.
    assert process.returncode in {130, -signal.SIGINT}, errors
    assert time.monotonic() - interrupted < QUICKLY_SECONDS
    assert errors.rstrip().endswith("interrupted")
    assert "Traceback" not in errors
    assert output == ""
    assert processes_of(place) == []


def test_the_next_demo_finishes_what_was_interrupted(place: Place) -> None:
    done = lakehouse(DEMO, place.variables)

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["accounted"] is True
    assert told["bronze_rows"] == EVENTS
    assert told["offsets"] == told["silver_rows"] + told["superseded"] + told["quarantined"] + told["gaps"]
    assert processes_of(place) == []


def test_down_ends_what_is_left(place: Place) -> None:
    assert len(processes_of(place, with_cache=True)) == 1
    assert lakehouse(["down"], place.variables).returncode == 0
    assert processes_of(place, with_cache=True) == []
