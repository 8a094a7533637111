"""Lag: how many records of a topic Bronze has not read, and for how long the oldest of them has waited."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence

from dagster_project.contract.model import Dataset
from dagster_project.errors import KafkaError, LakehouseError
from dagster_project.ingest.cursor import Cursor, lag
from dagster_project.ingest.horizon import located, waiting
from dagster_project.lake.storage import Storage
from dagster_project.lake.table import Table
from dagster_project.slo.measurement import Measurement, at_most
from dagster_project.topics.broker import Broker, Topic
from dagster_project.topics.retention import Place, record_times
from dagster_project.topics.survey import survey

# What the broker says of a topic, why it cannot say it, or `None` of one that does not exist.
_Answer = Topic | LakehouseError | None


def measure_lag(
    bronzes: Sequence[tuple[Dataset, Table | None]],
    *,
    storage: Storage,
    bootstrap: Callable[[], str],
    now: dt.datetime,
) -> Iterator[Measurement]:
    """Lag of datasets, with one question to the broker for all of them.

    A broker that does not answer is a bad moment of each dataset that was ever read.

    Args:
        bronzes: the datasets, each with its Bronze table.
        bootstrap: says where the broker is, or raises what is wrong with it.
    """
    topics, servers = _topics([dataset for dataset, _ in bronzes], bootstrap)
    places: dict[str, tuple[Topic, Cursor]] = {}
    for dataset, bronze in bronzes:
        topic = topics[dataset.name]
        cursor = None if bronze is None else Cursor.from_table(bronze.cursors())
        if not isinstance(topic, Topic):
            if cursor is not None:
                yield from _measured(dataset, None, None)
            continue
        try:
            places[dataset.name] = topic, located(dataset, cursor, topic, storage=storage)
        except LakehouseError:  # another topic, or a loss that nobody has declared: nothing is read until a person acts
            yield from _measured(dataset, None, None)
    unread = {
        (topic.name, partition): offset
        for topic, cursor in places.values()
        for partition, offset in waiting(cursor, topic).items()
    }
    try:
        times = record_times(unread, bootstrap_servers=servers)
    except KafkaError:
        times = None
    for dataset, _ in bronzes:
        if dataset.name in places:
            topic, cursor = places[dataset.name]
            yield from _measured(dataset, lag(cursor, topic), _seconds(topic, times, now))


def _topics(datasets: Sequence[Dataset], bootstrap: Callable[[], str]) -> tuple[dict[str, _Answer], str]:
    try:
        servers = bootstrap()
        found = survey(Broker(servers), [dataset.topic.name for dataset in datasets])
    except LakehouseError as error:
        return {dataset.name: error for dataset in datasets}, ""
    return {dataset.name: found[dataset.topic.name] for dataset in datasets}, servers


def _seconds(topic: Topic, times: Mapping[Place, float] | None, now: dt.datetime) -> float | None:
    """For how long the oldest unread record has waited; 0 if none does, or only what holds no message."""
    if times is None:
        return None
    own = [time for (name, _), time in times.items() if name == topic.name]
    return max(0.0, now.timestamp() - min(own)) if own else 0.0


def _measured(dataset: Dataset, records: int | None, seconds: float | None) -> Iterator[Measurement]:
    yield at_most(dataset, "lag_records", records, dataset.slo.lag_records)
    yield at_most(dataset, "lag_seconds", seconds, dataset.slo.lag.total_seconds())
