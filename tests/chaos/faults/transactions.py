"""Transactions that end badly: aborted, left open until the broker gives them up, and a producer killed amid one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import confluent_kafka as ck
from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.chaos.fault import STRIKE_SECONDS, Fault, Trial
from tests.chaos.verdict import arrived
from tests.integration.lake import unique

_TIMEOUT_MS = 10_000
_CALL_SECONDS = 30.0
_POLL_SECONDS = 0.2
# One for each Kafka partition or more, so that no partition can be read past.
_MESSAGES = 64
_STREAM = {"CHAOS_EVENTS": "1200", "CHAOS_RATE": "400"}


def faults() -> Iterator[Fault]:
    yield Fault(name="transaction-aborted", act=_aborted)
    yield Fault(name="transaction-hanging", act=_hanging)
    for seconds in (1.5, 2.5, 3.5):
        yield Fault(name=f"producer-killed-after-{seconds}s", act=_killed(seconds))


def _open(trial: Trial) -> ck.Producer:
    """A transaction with messages that nobody may ever see."""
    producer = ck.Producer(
        {
            "bootstrap.servers": trial.world.servers,
            "transactional.id": unique("chaos"),
            "transaction.timeout.ms": _TIMEOUT_MS,
            "log_level": 0,
        }
    )
    producer.init_transactions(_CALL_SECONDS)
    producer.begin_transaction()
    for number in range(_MESSAGES):
        producer.produce(trial.scene.topic, key=str(number).encode(), value=b'{"never": "seen"}')
    producer.flush(_CALL_SECONDS)
    return producer


def _aborted(trial: Trial) -> None:
    producer = _open(trial)
    producer.abort_transaction(_CALL_SECONDS)
    trial.scene.produce()
    _open(trial).abort_transaction(_CALL_SECONDS)
    trial.mark()


def _hanging(trial: Trial) -> None:
    producer = _open(trial)
    trial.scene.produce()
    trial.platform.advance()
    if _held_back(trial):
        assert not arrived(trial.scene), "rows beyond the last stable offset were read"
    deadline = time.monotonic() + STRIKE_SECONDS
    while _held_back(trial):
        assert time.monotonic() < deadline, "the broker never ended the transaction"
        time.sleep(_POLL_SECONDS)
    trial.mark()
    del producer  # it was to live as long as its transaction


def _held_back(trial: Trial) -> bool:
    """Whether some offsets are there and may not be read yet."""
    admin = AdminClient({"bootstrap.servers": trial.world.servers, "log_level": 0})
    partitions = [TopicPartition(trial.scene.topic, number) for number in range(trial.scene.dataset.topic.partitions)]
    latest = OffsetSpec.latest()
    assert latest is not None
    ends = [
        sum(
            future.result(_CALL_SECONDS).offset
            for future in admin.list_offsets(dict.fromkeys(partitions, latest), isolation_level=level).values()
        )
        for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    ]
    return ends[0] < ends[1]


def _killed(seconds: float) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        source = trial.scene.source(int(_STREAM["CHAOS_EVENTS"]))
        producer = trial.scene.start("produce", more={**_STREAM, "CHAOS_SEED": str(source.seed)})
        time.sleep(seconds)
        assert producer.poll() is None, producer.communicate()[1]
        producer.kill()
        producer.communicate()
        # What is committed of it is read, and must not be read again with the rest.
        trial.platform.advance()
        trial.mark()
        trial.scene.send(source)

    return act
