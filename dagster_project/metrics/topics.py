"""What the brokers say: how far Bronze is behind, and how long until that is a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from dagster_project.contract.model import Catalog
from dagster_project.ingest.horizon import State, horizons
from dagster_project.lake.storage import Storage
from dagster_project.metrics.family import Family, Sample, Source

_DATASET = ("dataset",)
LAG = Family(
    name="lakehouse_lag_records",
    help="Offsets of a Kafka partition that Bronze does not hold",
    unit="records",
    labels=("dataset", "partition"),
)
WAITED = Family(
    name="lakehouse_lag_seconds",
    help="For how long the oldest record has waited that Bronze does not hold; 0 if none does",
    unit="seconds",
    labels=_DATASET,
)
LEFT = Family(
    name="lakehouse_time_to_loss_seconds",
    help="Time until the broker may delete the first record that Bronze does not hold; not there while none can be lost",
    unit="seconds",
    labels=_DATASET,
)
WARNING = Family(
    name="lakehouse_time_to_loss_warning_seconds",
    help="Time to loss below which a person should act",
    unit="seconds",
    labels=_DATASET,
)
STATE = Family(
    name="lakehouse_topic_state",
    help="1 for the state that a topic is in: safe; soon, time to loss is short; lost, records are gone or the topic is "
    "another one; unknown; else 0",
    unit="1",
    labels=("dataset", "state"),
)


def source(catalog: Catalog, *, storage: Storage, bootstrap: Callable[[], str]) -> Source:
    """Of each dataset.

    Args:
        bootstrap: says where the brokers are, or raises what is wrong with them.
    """

    def read(now: float) -> Iterator[Sample]:
        for horizon in horizons(catalog.datasets, storage=storage, bootstrap_servers=bootstrap(), now=now):
            for partition, lag in horizon.unread.items():
                yield LAG.of(lag, horizon.dataset, str(partition))
            for family, seconds in ((WAITED, horizon.waited_s), (LEFT, horizon.seconds), (WARNING, horizon.warning_s)):
                if seconds is not None:
                    yield family.of(seconds, horizon.dataset)
            for state in get_args(State):
                yield STATE.of(horizon.state == state, horizon.dataset, state)

    return Source(name="broker", families=(LAG, WAITED, LEFT, WARNING, STATE), read=read)
