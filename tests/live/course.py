"""The course of a live run: one fault after the other under a stream that does not stop, then everything drains."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from dagster_project.cli.watch import standing
from dagster_project.topics.broker import Broker
from tests.live.faults import Fault, wait
from tests.live.ground import Ground
from tests.live.place import Place

# Before the first fault: everything has run once.
_WARM_S, _WARM_SHARE = 40.0, 0.2
# A region has to be silent for 20 s to be called so, then for the 40 s that its alert is held down, and Silver is some 20 s
# behind, on busy cores twice that: half as long again as the others, which last until they are told of.
_TIMED_SHARE = 1.5
# What was told of stays broken a little longer: it is to be told once. A fault that is not told of ends so long before the next.
_AFTER_S = 5.0
# After the last event: the backlog, and a minute of quiet before an alert is called over, several times over.
PATIENCE_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """When a fault may strike and by when it is mended, in seconds since the start of the stream."""

    fault: Fault
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Struck:
    """What became of a fault; times in seconds since the start of the stream, `None`: it never came."""

    fault: Fault
    struck_s: float
    told_s: float | None
    mended_s: float


def slots(chosen: Sequence[Fault], *, seconds: float) -> list[Slot]:
    """The time of the stream, shared out among the faults."""
    warm = min(_WARM_S, seconds * _WARM_SHARE)
    shares = [_TIMED_SHARE if fault.timed else 1.0 for fault in chosen]
    ends = [warm + (seconds - warm) * whole / sum(shares) for whole in accumulate(shares)]
    return [
        Slot(fault=fault, begin_s=begin, end_s=end - _AFTER_S)
        for fault, (begin, end) in zip(chosen, pairwise([warm, *ends]), strict=True)
    ]


def run(ground: Ground, plan: Sequence[Slot], *, start: float, report: Callable[[str], object]) -> list[Struck]:
    """Strike and mend.

    Args:
        start: of the stream, since the epoch.
    """
    found: list[Struck] = []
    for slot in plan:
        wait(start + slot.begin_s - time.time(), check=ground.check)
        fault, struck = slot.fault, time.time()
        report(f"{struck - start:5.0f} s: {fault.name}")
        fault.strike(ground)
        told = wait(
            start + slot.end_s - time.time(),
            lambda fault=fault, struck=struck: ground.hook.has(fault.alert, "new", since=struck),
            check=ground.check,
        )
        told_s = time.time() - start if told else None
        wait(start + slot.end_s - time.time() if fault.timed else _AFTER_S, check=ground.check)
        fault.mend(ground)
        mended = time.time() - start
        report(f"{mended:5.0f} s: mended; {fault.alert} {f'was told at {told_s:.0f} s' if told_s else 'was NOT told'}")
        found.append(Struck(fault=fault, struck_s=struck - start, told_s=told_s, mended_s=mended))
    return found


def drained(ground: Place) -> bool:
    """Whether nothing is left to be read, refined or computed."""
    broker = Broker(ground.servers)
    for dataset in ground.catalog.datasets:
        now = standing(dataset, ground.catalog, ground.storage, broker)
        if now.lag or now.waiting:
            return False
    return True


def settle(ground: Ground, found: Sequence[Struck], *, report: Callable[[str], object]) -> float:
    """Wait until everything is drained and every alert is over; seconds that the first took."""
    began = time.monotonic()
    assert wait(PATIENCE_S, lambda: drained(ground), check=ground.check), "the backlog is never drained"
    took = time.monotonic() - began
    report(f"drained within {took:.0f} s")
    over = wait(
        PATIENCE_S,
        lambda: all(ground.hook.has(one.fault.alert, "resolved", since=0) for one in found if one.told_s is not None),
        check=ground.check,
    )
    report("every alert is over" if over else "NOT every alert is over")
    return took
