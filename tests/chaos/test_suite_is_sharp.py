"""With one of the platform's safeguards taken out, the same faults must do damage, and the verdict must see it."""

from __future__ import annotations

from random import Random

import pytest

from tests.chaos import suite
from tests.chaos.faults import FAULTS
from tests.chaos.platform import Processes
from tests.chaos.scene import scene
from tests.chaos.world import World


@pytest.mark.parametrize(
    ("safeguard", "name"),
    [
        ("cursor", "kill-bronze-after-commit"),
        ("fencing", "zombie-ingest-fetched"),
        ("outbox", "kill-outbox-committed"),
    ],
)
def test_the_verdict_sees_what_a_missing_safeguard_lets_happen(safeguard: str, name: str, ground: World) -> None:
    broken = scene(ground, seed=len(safeguard), disabled=safeguard)

    result = suite.attempt(FAULTS[name], Processes(broken), broken, rng=Random(0), patience=0)

    assert not result.survived
    assert result.verdict.lost + result.verdict.duplicated > 0, result
