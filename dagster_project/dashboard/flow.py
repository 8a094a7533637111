"""From the topic to Gold, and whether the counts add up: every offset is in one place."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from dagster_project.dashboard.facts import Facts
from dagster_project.dashboard.probe import Seen
from dagster_project.topics.broker import Topic


@dataclass(frozen=True, kw_only=True)
class Stock:
    """A mart: its rows, and its table partitions that are older than what they read, or held back."""

    mart: str
    rows: int
    stale: int
    held: int


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Where the offsets of one topic are, in the words of `lakehouse verify`.

        appended = read + lag
        read     = bronze + expired + all gaps + lost + forgotten + unrecorded
        bronze + expired = silver + superseded + quarantined + tombstones + pending + held

    Attributes:
        appended, lag: `None` while the broker does not say.
        lag_before, lag_at: what it was when the broker last said, and when that was.
        trouble: why lag is not known although the broker answers: no topic, or another one.
        expired: rows that the retention has deleted from Bronze.
        unrecorded: offsets below the cursor without a row, whose kind the ledger does not have yet.
        superseded: what remains of Bronze: older versions and copies. `lakehouse verify` proves each of them.
        poison: of what is quarantined, what could not be decoded.
        marts: that read the dataset; those that were computed are in `gold`.
        adds_up: no count is negative, so none was counted twice.
    """

    dataset: str
    topic: str
    appended: int | None
    lag: int | None
    lag_before: int | None
    lag_at: dt.datetime | None
    trouble: str
    read: int
    bronze: int
    expired: int
    control: int
    aborted: int
    compacted: int
    unproven_gaps: int
    lost: int
    forgotten: int
    unrecorded: int
    silver: int
    superseded: int
    quarantined: int
    poison: int
    tombstones: int
    pending: int
    held: int
    marts: int
    gold: tuple[Stock, ...]
    adds_up: bool


def flow(facts: Facts, topics: Seen[Mapping[str, Topic | str]], *, marts: int, gold: tuple[Stock, ...]) -> Flow:
    """Put together what the tables and the broker say.

    Args:
        topics: by name, or what is wrong with one; the broker is asked beside the tables, so it may say a little less
            than was read by then.
    """
    read = sum(facts.next.values()) - sum(facts.start.values())
    gaps = dict.fromkeys(("control", "aborted", "compacted", "unproven_gaps", "lost", "forgotten"), 0) | dict(
        facts.gaps
    )
    unrecorded = read - facts.rows - facts.expired - sum(gaps.values())
    waiting = facts.pending + facts.pending_deletes + facts.leaving
    places = {
        "silver": facts.live,
        "quarantined": facts.rejected + facts.poison,
        "tombstones": facts.deletes - facts.pending_deletes,
        "pending": waiting,
        "held": facts.held,
    }
    superseded = facts.rows + facts.expired - sum(places.values())
    lag, trouble = _lag(facts, (topics.value or {}).get(facts.topic))
    known = topics.failing_since is None
    return Flow(
        dataset=facts.dataset,
        topic=facts.topic,
        appended=read + lag if known and lag is not None else None,
        lag=lag if known else None,
        lag_before=lag,
        lag_at=topics.at,
        trouble=trouble if known else "",
        read=read,
        bronze=facts.rows,
        expired=facts.expired,
        **gaps,
        unrecorded=unrecorded,
        superseded=superseded,
        poison=facts.poison,
        **places,
        marts=marts,
        gold=gold,
        adds_up=min(unrecorded, superseded, *places.values()) >= 0,
    )


def _lag(facts: Facts, topic: Topic | str | None) -> tuple[int | None, str]:
    """Offsets that Bronze does not hold yet, or why that is not known."""
    if topic is None:
        return None, ""
    if isinstance(topic, str):
        return None, topic
    if facts.topic_id and facts.topic_id != topic.topic_id:
        return None, f"{topic.name} is another topic than the one that was read"
    return sum(
        max(0, end - facts.next.get(partition, topic.first[partition])) for partition, end in topic.end.items()
    ), ""
