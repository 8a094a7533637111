"""A choice of faults, each of which the platform must survive with every offset, row and value where it belongs."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos import report, suite
from tests.chaos.faults import FAULTS
from tests.chaos.platform import Processes
from tests.chaos.scene import Scene, scene
from tests.chaos.world import World

SEED = 4
# Of most kinds one at least; those that wait for long outages, such as a dead leader, are left to `make chaos`.
QUICK = (
    "kill-bronze-before-commit",
    "kill-bronze-after-commit",
    "kill-at-random",
    "kill-outbox-committed",
    "zombie-ingest-fetched",
    "s3-answer-lost-bronze-commit",
    "s3-reset-bronze-data",
    "transaction-aborted",
)


@pytest.fixture(scope="module")
def shared(ground: World) -> Scene:
    return scene(ground, seed=SEED)


@pytest.mark.parametrize("name", QUICK)
def test_the_platform_survives(name: str, ground: World, shared: Scene) -> None:
    fault = FAULTS[name]
    ground.mend()
    place = scene(ground, seed=SEED, local=fault.local, partitions=fault.partitions) if fault.alone else shared

    result = suite.attempt(fault, Processes(place), place, rng=Random(SEED), last=name == QUICK[-1])

    assert result.survived, report.line(result)
    assert result.verdict == suite.Verdict()
