"""Topics that change under the reader: offsets deleted unread, the topic made anew, more partitions; and wrong clocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from dagster_project.settings import REPOSITORY
from tests.chaos.fault import STRIKE_SECONDS, Fault, Trial
from tests.chaos.platform import PASS
from tests.chaos.worker import REFUSED
from tests.integration.lake import lakehouse

_CALL_SECONDS = 30.0
_DAYS = 2 * 86_400
_MIDDLE_SECONDS = 1.5
_RATE, _EVENTS = 400.0, 1_600
_GROWN = 12
# Of each Kafka partition, offsets that retention takes beyond the cursor.
_TAKEN = 20


def faults() -> Iterator[Fault]:
    yield Fault(name="retention-loss", act=_lost, spoils=True, absent=_command("loss"))
    yield Fault(name="topic-made-anew", act=_anew, spoils=True, absent=_command("retire"))
    yield Fault(name="partitions-grow-from-4-to-12", act=_grown, partitions=4)
    yield Fault(name="clock-two-days-ahead", act=_clock(_DAYS))
    yield Fault(name="clock-two-days-behind", act=_clock(-_DAYS))


def _command(name: str) -> Callable[[], str]:
    def absent() -> str:
        there = (REPOSITORY / "dagster_project" / "cli" / f"{name}.py").exists()
        return "" if there else f"there is no command `lakehouse {name}` yet"

    return absent


def _admin(trial: Trial) -> AdminClient:
    return AdminClient({"bootstrap.servers": trial.world.servers, "log_level": 0})


def _must_refuse(trial: Trial, error: str) -> None:
    worker = trial.scene.start("ingest")
    _, errors = worker.communicate(timeout=STRIKE_SECONDS)
    assert worker.returncode == REFUSED, f"the run ended with {worker.returncode}: {errors}"
    assert error in errors, errors


def _by_hand(trial: Trial, *arguments: str) -> None:
    done = lakehouse(arguments, trial.scene.environment())
    assert done.returncode == 0, f"lakehouse {' '.join(arguments)}: {done.stdout}{done.stderr}"


def _lost(trial: Trial) -> None:
    scene = trial.scene
    scene.produce()
    trial.platform.advance()
    read = {record.place for record in scene.records()}
    ends: dict[int, int] = {}
    for partition, offset in read:
        ends[partition] = max(offset + 1, ends.get(partition, 0))
    scene.produce()
    cut = [TopicPartition(scene.topic, partition, end + _TAKEN) for partition, end in ends.items()]
    admin = _admin(trial)  # its answers end with it
    for future in admin.delete_records(cut).values():
        future.result(_CALL_SECONDS)
    _must_refuse(trial, "OffsetLossError")
    # Of the records that were never read, those below the cut are gone for good.
    before = {item.partition: item.offset for item in cut}
    scene.gone |= {
        record.place
        for record in scene.records()
        if record.place not in read and record.offset < before.get(record.partition, 0)
    }
    assert scene.gone
    trial.mark()
    _by_hand(trial, "loss", "accept", "orders", "--reason", "retention was too short", "--yes")


def _anew(trial: Trial) -> None:
    scene = trial.scene
    scene.produce()
    trial.platform.advance()
    admin = _admin(trial)
    admin.delete_topics([scene.topic])[scene.topic].result(_CALL_SECONDS)
    deadline = time.monotonic() + _CALL_SECONDS
    while scene.topic in admin.list_topics(timeout=_CALL_SECONDS).topics:
        assert time.monotonic() < deadline, "the topic is not deleted"
        time.sleep(0.1)
    scene.create_topic()
    scene.forget()
    scene.produce()
    _must_refuse(trial, "TopicIdentityError")
    trial.mark()
    _by_hand(trial, "retire", "orders", "--yes")


def _grown(trial: Trial) -> None:
    scene = trial.scene
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(scene.send, scene.source(_EVENTS), rate=_RATE)
        time.sleep(_MIDDLE_SECONDS)
        trial.platform.advance()
        scene.dataset = replace(scene.dataset, topic=replace(scene.dataset.topic, partitions=_GROWN))
        scene.create_topic()
        sent.result()
    trial.platform.advance()
    scene.produce()
    trial.mark()


def _clock(seconds: float) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.scene.produce()
        worker = trial.scene.start(*PASS, more={"CHAOS_CLOCK": str(seconds)})
        _, errors = worker.communicate(timeout=STRIKE_SECONDS)
        trial.notes.append(f"exit code {worker.returncode}")
        assert worker.returncode in {0, REFUSED}, errors
        # With the right time again, after a jump back or forth.
        trial.scene.produce()
        trial.mark()

    return act
