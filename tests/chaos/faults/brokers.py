"""Brokers that die or are restarted, under readers and writers; a minute of Kafka's operators."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from dagster_project.errors import KafkaError
from dagster_project.services import kafka
from tests.chaos.fault import STRIKE_SECONDS, Fault, Trial
from tests.chaos.platform import PASS
from tests.chaos.probe import kept, leaders, probing
from tests.chaos.scene import EVENTS
from tests.chaos.world import BROKERS

# A stream long enough to be in the middle of it, with a transaction each second.
_RATE = 300.0
_MIDDLE_SECONDS = 1.2
# Writes go on this long after the next acknowledged one, so that the gap has an end.
_AFTER_SECONDS = 1.0
_POLL_SECONDS = 0.05
# Of writes that must be refused: long enough to be believed.
_REFUSAL_MS = 3_000


def faults() -> Iterator[Fault]:
    yield Fault(name="leader-killed-while-reading", act=_leader(reading=True, writing=False))
    yield Fault(name="leader-killed-while-writing", act=_leader(reading=False, writing=True))
    yield Fault(name="leader-killed-while-both", act=_leader(reading=True, writing=True))
    yield Fault(name="leader-killed-under-sensors", act=_leader(reading=False, writing=True), platform="daemon")
    yield Fault(name="two-brokers-killed", act=_two)
    yield Fault(name="rolling-restart", act=_rolling)


def _send(trial: Trial, *, events: int = EVENTS) -> None:
    """Send a stream to its end, as a person would: once more where it says that it stopped."""
    source = trial.scene.source(events)
    deadline = time.monotonic() + STRIKE_SECONDS
    while True:
        try:
            return trial.scene.send(source, rate=_RATE)
        except KafkaError:
            if time.monotonic() > deadline:
                raise


def _leader(*, reading: bool, writing: bool) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        if not writing:
            trial.scene.produce()
        victim = leaders(trial.world, trial.scene.topic)[0]
        with ThreadPoolExecutor(1) as pool, probing(trial.world, victim) as probe:
            sent = pool.submit(_send, trial) if writing else None
            time.sleep(_MIDDLE_SECONDS)
            worker = trial.scene.start(*PASS) if reading else None
            kafka.stop_broker(trial.world.settings, victim, kill=True)
            trial.mark()
            while not probe.times or probe.times[-1] < trial.moment + _AFTER_SECONDS:
                assert time.monotonic() < trial.moment + STRIKE_SECONDS, "no writes after the leader's death"
                time.sleep(_POLL_SECONDS)
            if sent is not None:
                sent.result()
            if worker is not None:
                worker.communicate(timeout=STRIKE_SECONDS)
        trial.failover_s = round(probe.gap, 2)
        _check(trial, set(probe.acknowledged) - kept(trial.world, probe))

    return act


def _two(trial: Trial) -> None:
    trial.scene.produce()
    victims = [1, 2]
    with probing(trial.world, 3, patience_ms=_REFUSAL_MS) as probe:
        time.sleep(_AFTER_SECONDS)
        for victim in victims:
            kafka.stop_broker(trial.world.settings, victim, kill=True)
        while not probe.refused:
            time.sleep(_POLL_SECONDS)
        late = [moment for moment in probe.times if moment > time.monotonic() - _REFUSAL_MS / 1000]
        assert not late, "one broker of three acknowledged a write"
    trial.world.mend()
    trial.mark()
    _check(trial, set(probe.acknowledged) - kept(trial.world, probe))


def _rolling(trial: Trial) -> None:
    with ThreadPoolExecutor(1) as pool, probing(trial.world) as probe:
        sent = pool.submit(_send, trial, events=2 * EVENTS)
        for broker in range(1, BROKERS + 1):
            kafka.stop_broker(trial.world.settings, broker)
            trial.platform.advance()
            kafka.start_broker(trial.world.settings, broker)
        sent.result()
    trial.mark()
    _check(trial, set(probe.acknowledged) - kept(trial.world, probe))


def _check(trial: Trial, missing: set[int]) -> None:
    assert not missing, f"{len(missing)} acknowledged writes are gone"
