"""What is told to the look at the platform by those who know Dagster: plain values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """The last run of some work has failed, and none has succeeded since.

    Attributes:
        owner: dataset or mart whose work it is.
        work: what was to be done, such as `ingest`, whichever job does it.
        error: its first line.
    """

    owner: str
    work: str
    job: str
    run_id: str
    at: dt.datetime
    error: str


@dataclass(frozen=True, kw_only=True)
class Imbalance:
    """A check of books or of offsets is red.

    Attributes:
        dataset: whose offsets, or whose mart.
        mart: that publishes nothing; empty where offsets have no place.
        found: what is wrong, in words.
    """

    dataset: str
    mart: str
    check: str
    at: dt.datetime
    found: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All of it.

    Attributes:
        checking: some of the checks are being evaluated, so what they said before is not over.
    """

    runs: tuple[FailedRun, ...] = ()
    imbalances: tuple[Imbalance, ...] = ()
    checking: bool = False
