"""Time to loss: how long until the broker may delete the first event that Bronze does not hold yet."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError, LakehouseError, OffsetLossError, TopicIdentityError
from dagster_project.ingest.cursor import Cursor, lag, resume
from dagster_project.lake import specs
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.ledger.ledger import lost
from dagster_project.ledger.losses import deleted
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.offsets import Offsets
from dagster_project.topics.retention import Place, Retention, record_times, retentions
from dagster_project.topics.survey import survey

# A person needs an hour to mend ingest, and more where more has piled up: a tenth of the retention. Of a short retention
# half, or the warning would be there from the first record on.
_HOUR_S, _SHARE, _MOST = 3600.0, 0.1, 0.5
State = Literal["safe", "soon", "lost", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """How far a dataset is from losing events.

    Attributes:
        state: `safe`; `soon`: time to loss is below `warning_s`; `lost`: events are gone, or the topic is another one;
            `unknown`: the broker or the lake does not say.
        lag: offsets that Bronze does not hold; -1 where that is unknown.
        unread: the same, by Kafka partition.
        waited_s: for how long the oldest unread record has waited; 0 if none does.
        seconds: until the first unread offset may be deleted, from its time and the broker's retention; at 0 or below it
            may go at any moment. `None`: nothing waits, or time deletes nothing. Kafka deletes whole segments, by their
            newest record, so in truth it takes longer.
        partition, offset: the Kafka partition that loses first, and the first unread offset there.
        retention_s: the broker's; `None` is for ever.
        by_size: the topic is also bounded by size, so loss may come earlier than `seconds` says.
        warning_s: below it a person should act.
        found, to_do: what is wrong, and what to do about it; empty where nothing is.
    """

    dataset: str
    topic: str
    state: State
    lag: int = -1
    unread: Mapping[int, int] = field(default_factory=dict)
    waited_s: float | None = None
    seconds: float | None = None
    partition: int | None = None
    offset: int | None = None
    retention_s: float | None = None
    by_size: bool = False
    warning_s: float | None = None
    found: str = ""
    to_do: str = ""


def horizons(
    datasets: Sequence[Dataset], *, storage: Storage, bootstrap_servers: str, now: float | None = None
) -> list[Horizon]:
    """Judge datasets, with one call for each kind of fact and one record for each Kafka partition with lag.

    Args:
        now: seconds since the epoch.

    Raises:
        KafkaError: the cluster does not answer.
    """
    topics = survey(Broker(bootstrap_servers), [dataset.topic.name for dataset in datasets])
    places: dict[str, tuple[Topic, Cursor]] = {}
    known: dict[str, Horizon] = {}
    for dataset in datasets:
        try:
            places[dataset.name] = _place(dataset, topics[dataset.topic.name], storage)
        except LakehouseError as error:
            known[dataset.name] = _trouble(dataset, error)
    kept = retentions([topic.name for topic, _ in places.values()], bootstrap_servers=bootstrap_servers)
    unread = {
        (topic.name, partition): offset
        for topic, place in places.values()
        for partition, offset in waiting(place, topic).items()
    }
    untold: KafkaError | None = None
    try:
        times = record_times(unread, bootstrap_servers=bootstrap_servers)
    except KafkaError as error:  # who may see topics, but not read them, still knows the lag
        times, untold = dict[Place, float](), error
    for dataset in datasets:
        if dataset.name in places:
            topic, place = places[dataset.name]
            known[dataset.name] = judge(
                dataset,
                place,
                topic,
                retention=kept[topic.name],
                times=times,
                now=time.time() if now is None else now,
            )
            if untold is not None and waiting(place, topic):
                known[dataset.name] = replace(
                    known[dataset.name], state="unknown", waited_s=None, found=untold.found, to_do=untold.remedy
                )
    return [known[dataset.name] for dataset in datasets]


def waiting(place: Cursor, topic: Topic) -> dict[int, int]:
    """By Kafka partition with lag, the first unread offset."""
    return {partition: place.next[partition] for partition, end in topic.end.items() if place.next[partition] < end}


def judge(
    dataset: Dataset,
    place: Cursor,
    topic: Topic,
    *,
    retention: Retention,
    times: Mapping[Place, float],
    now: float,
) -> Horizon:
    """Judge one dataset whose topic is the right one and whole."""
    deletions = {
        (times[topic.name, partition] + retention.seconds - now, partition, offset)
        for partition, offset in waiting(place, topic).items()
        if retention.seconds is not None and (topic.name, partition) in times
    }
    seconds, partition, offset = min(deletions, default=(None, None, None))
    warning = None if retention.seconds is None else warning_s(retention.seconds)
    soon = seconds is not None and warning is not None and seconds < warning
    own = [time for (name, _), time in times.items() if name == topic.name]
    return Horizon(
        dataset=dataset.name,
        topic=topic.name,
        state="soon" if soon else "safe",
        lag=lag(place, topic),
        unread={partition: end - place.next[partition] for partition, end in sorted(topic.end.items())},
        waited_s=max(0.0, now - min(own)) if own else 0.0,
        seconds=seconds,
        partition=partition,
        offset=offset,
        retention_s=retention.seconds,
        by_size=retention.by_size,
        warning_s=warning,
        found="ingest does not keep up with retention" if soon else "",
        to_do=f"see why runs of ingest_{dataset.name} fail or are missing; to gain time raise retention in the contract "
        "and run `lakehouse topics apply`"
        if soon
        else "",
    )


def warning_s(retention_s: float) -> float:
    """Seconds to loss below which a person should act."""
    return min(max(_SHARE * retention_s, _HOUR_S), _MOST * retention_s)


def located(dataset: Dataset, cursor: Cursor | None, topic: Topic, *, storage: Storage) -> Cursor:
    """Where ingest would read on. Looks into the ledger only where offsets are gone, so it is cheap enough for a tick.

    Raises:
        TopicIdentityError: the cursor was written for another topic or cluster.
        OffsetLossError: the broker has deleted offsets that were never read nor declared lost.
    """
    same = cursor is not None and (cursor.cluster_id, cursor.topic_id) == (topic.cluster_id, topic.topic_id)
    gone = cursor is not None and same and bool(deleted(cursor.next, topic))
    declared = lost(dataset, topic, storage=storage) if gone else Offsets()
    return resume(cursor, topic, dataset=dataset.name, lost=declared)


def _place(dataset: Dataset, topic: Topic | KafkaError | None, storage: Storage) -> tuple[Topic, Cursor]:
    if isinstance(topic, KafkaError):
        raise topic
    bronze = Table.find(specs.bronze(dataset), storage=storage)
    cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
    if topic is None:
        missing = TopicIdentityError if cursor is not None else KafkaError
        raise missing(f"no topic {dataset.topic.name}", remedy="run `lakehouse topics apply`")
    return topic, located(dataset, cursor, topic, storage=storage)


def _trouble(dataset: Dataset, error: LakehouseError) -> Horizon:
    to_do = error.remedy
    if isinstance(error, TopicIdentityError):
        to_do += f"; once the topic was made anew: `lakehouse retire {dataset.name}`"
    gone = isinstance(error, OffsetLossError | TopicIdentityError)
    return Horizon(
        dataset=dataset.name,
        topic=dataset.topic.name,
        state="lost" if gone else "unknown",
        found=error.found,
        to_do=to_do,
    )
