"""How damage is told: counted, and named by its first places."""

from __future__ import annotations

from dagster_project.topics.offsets import Offsets

# Runs of offsets that a problem names: enough to find the damage, few enough to read.
_NAMED = 5


def damage(offsets: Offsets, what: str) -> list[str]:
    """One line that counts and names offsets, or none where there are none."""
    return [f"{len(offsets)} offsets are {what}: {offsets.named(_NAMED)}"] if offsets else []
