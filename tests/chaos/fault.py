"""What a fault is, and the trial in which it acts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

from tests.chaos.platform import Daemon, Platform
from tests.chaos.scene import PARTITIONS, Scene
from tests.chaos.world import World

# The platforms there are; see `platform`.
Kind = Literal["daemon", "processes"]
# Far longer than any fault needs to take place; what has not by then never will.
STRIKE_SECONDS = 120.0


class DidNotStrikeError(AssertionError):
    """The fault never took place, so surviving it proves nothing."""


@dataclass(kw_only=True)
class Trial:
    """One fault in one scene.

    Attributes:
        moment: when the fault struck, or a long outage ended; recovery counts from there.
        failover_s: longest gap between acknowledged writes, where a leader was killed.
        notes: for the report.
        cleanup: what is to be done once the verdict is in.
    """

    scene: Scene
    platform: Platform
    rng: Random
    moment: float = 0.0
    failover_s: float | None = None
    notes: list[str] = field(default_factory=list)
    cleanup: ExitStack = field(default_factory=ExitStack)

    @property
    def world(self) -> World:
        return self.scene.world

    @property
    def daemon(self) -> Daemon:
        assert isinstance(self.platform, Daemon), "this fault is about Dagster"
        return self.platform

    def mark(self) -> None:
        self.moment = time.monotonic()

    def arm(self, point: str, action: str = "kill", *, seconds: float = 0.0, plan: Path | None = None) -> Path:
        """Plan what is to happen to the process that first gets to a point of the saboteur's."""
        target = plan or self.scene.plan
        for old in target.parent.glob(f"{target.name}.*"):
            old.unlink()
        fresh = target.with_suffix(".new")
        fresh.write_text(json.dumps({"point": point, "action": action, "seconds": seconds}))
        fresh.rename(target)
        return target

    def struck(self, plan: Path | None = None) -> int | None:
        """The process that the plan was carried out in, once it was."""
        target = plan or self.scene.plan
        return next((int(path.suffix[1:]) for path in target.parent.glob(f"{target.name}.*")), None)

    def until(self, happened: Callable[[], object]) -> None:
        """Let the platform work until the fault has taken place.

        Raises:
            DidNotStrikeError: it does not.
        """
        deadline = time.monotonic() + STRIKE_SECONDS
        while not happened():
            if time.monotonic() > deadline:
                self.scene.plan.unlink(missing_ok=True)
                raise DidNotStrikeError(f"nothing happened within {STRIKE_SECONDS:.0f} s")
            self.platform.advance()
        self.mark()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to break the platform.

    Attributes:
        act: sends events and does the damage.
        platform: what should recover; faults that are not about Dagster gain nothing from it but time.
        spoils: whether the scene cannot serve another fault.
        absent: why it cannot be tried yet, or nothing.
        local: the lake is on local disk.
        partitions: Kafka partitions of the topic at first.
    """

    name: str
    act: Callable[[Trial], None]
    platform: Kind = "processes"
    spoils: bool = False
    local: bool = False
    partitions: int = PARTITIONS
    absent: Callable[[], str] = lambda: ""

    @property
    def alone(self) -> bool:
        """It needs a scene of its own."""
        return self.spoils or self.local or self.partitions != PARTITIONS


def named(faults: Iterator[Fault]) -> dict[str, Fault]:
    found: dict[str, Fault] = {}
    for fault in faults:
        assert fault.name not in found, fault.name
        found[fault.name] = fault
    return found
