"""A day of one dataset, round by round: each reads what has come since the one before, and finds more there than that one."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from benchmarks.scale.figures import Figures

DAY_S = 86_400.0
# Files of a commit are written by so many threads (`lake/files.py`), and a scan asks for so many at once.
_WRITERS, _AT_ONCE = 4, 64
# Between two looks at Bronze, at the least (`assets/catch_up.py`).
_LOOK_S = 0.5
# Requests for each file of a scan: its end, and its columns (`lake/meter.py`).
_REQUESTS = 2


@dataclass(frozen=True, kw_only=True)
class Day:
    """What it was like by midnight.

    Attributes:
        rounds: of Silver and the mart.
        behind_s: how long an event waits at the most until it is in the mart: the round that it missed, and its own.
        cpu_s: of all rounds and of Bronze.
        commits: of Bronze, Silver and the mart.
        files: of Bronze and of Silver, before anybody puts them together.
        puts, gets: requests to the store.
    """

    rounds: int
    behind_s: float
    cpu_s: float
    commits: int
    files: int
    puts: float
    gets: float


def day(rate: float, figures: Figures, *, shards: int = 1, until_s: float = DAY_S) -> Day:
    """Simulate a day at so many events a second, all of that date, with one mart, on a store like S3."""
    regions, get_s, put_s = figures.regions.value, figures.get_s.value, figures.put_s.value
    now = since = 0.0
    rows = bronze_files = silver_files = cpu_s = puts = gets = 0.0
    rounds = portions_of_all = 0
    last = _LOOK_S
    while now < until_s:
        elapsed = max(_LOOK_S, now - since)
        arrived, since = rate * elapsed, now
        news = shards * elapsed / figures.gather_s.value * regions
        portions = max(1, ceil(arrived / figures.portion_rows.value))
        # Each portion looks for its keys in all that there is; the mart is computed from all of it, once.
        work = (
            arrived * figures.silver_us.value + portions * rows * figures.merge_us.value + rows * figures.gold_us.value
        ) / 1e6
        scanned = news + (portions + 1) * silver_files
        listed = (bronze_files + (portions + 1) * silver_files) * figures.listed_ms.value / 1000
        written = (portions * (ceil(regions / _WRITERS) + 1) + 2) * put_s
        last = max(_LOOK_S, work / figures.parallel.value + listed + scanned * _REQUESTS * get_s / _AT_ONCE + written)
        cpu_s += work + listed
        puts += news + news / regions + (portions + 1) * (regions + 2)
        gets += scanned * _REQUESTS
        rows += arrived * figures.live.value
        bronze_files, silver_files = bronze_files + news, silver_files + portions * regions
        rounds, portions_of_all = rounds + 1, portions_of_all + portions
        now += last
    bronze_commits = now / figures.gather_s.value * shards
    return Day(
        rounds=rounds,
        behind_s=now - since + last,
        cpu_s=cpu_s + rate * now * figures.bronze_us.value / 1e6,
        commits=round(bronze_commits) + portions_of_all + rounds,
        files=round(bronze_files + silver_files),
        puts=puts,
        gets=gets,
    )


def carries(figures: Figures, *, seconds: float) -> float:
    """The most events a second of which none waits for longer than that by midnight, to a hundredth."""
    low, high = 1.0, 1e7
    while high / low > 1.01:  # noqa: PLR2004 a hundredth
        middle = (low * high) ** 0.5
        if day(middle, figures).behind_s <= seconds:
            low = middle
        else:
            high = middle
    return low
