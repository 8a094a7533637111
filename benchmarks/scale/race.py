"""Writers that race for the next version of one Delta log: a simulation by events, the same for the same seed."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass

# Latency varies by a quarter to each side, or writers that start together would go in step for ever.
_SPREAD = 0.25


@dataclass(frozen=True, kw_only=True)
class Race:
    """What came of it.

    Attributes:
        commits: a second, of all writers together.
        tries: for each commit.
    """

    commits: float
    tries: float


def race(*, writers: int, every: float, put_s: float, get_s: float, seconds: float = 600.0, seed: int = 1) -> Race:
    """Let each writer commit as often as it has something, and no more often than it can.

    A try is a PUT of the version after the last that the writer knows, which succeeds if nobody has put it before. Whoever
    loses reads the commits that it lacks, side by side, and tries again; whoever wins looks once at the head.

    Args:
        every: seconds after which a writer has its next batch; its files are written meanwhile.
    """
    chance = random.Random(seed)

    def about(mean: float) -> float:
        return mean * chance.uniform(1 - _SPREAD, 1 + _SPREAD)

    version = commits = tries = 0
    ready = [every * number / writers for number in range(writers)]
    # When it reaches the store, whose it is, and of a PUT the version that its writer knows; a look has none.
    coming: list[tuple[float, int, int | None]] = [(moment, number, None) for number, moment in enumerate(ready)]
    heapq.heapify(coming)
    while coming[0][0] < seconds:
        now, number, known = heapq.heappop(coming)
        if known is None:
            heapq.heappush(coming, (max(now, ready[number]) + about(put_s), number, version))
            continue
        tries += 1
        if known == version:
            version += 1
            commits += 1
            ready[number] = max(now, ready[number] + about(every))
        heapq.heappush(coming, (now + about(get_s), number, None))
    return Race(commits=commits / seconds, tries=tries / max(1, commits))
