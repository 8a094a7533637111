"""The run of the suite: fault by fault, each judged, in scenes that are made anew before verdicts get dear."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from confluent_kafka import KafkaException

from dagster_project.accounting.account import account
from dagster_project.errors import LakehouseError
from dagster_project.topics.broker import Broker
from tests.chaos.fault import Fault, Kind, Trial
from tests.chaos.platform import Platform, Processes, daemon
from tests.chaos.scene import Scene, scene
from tests.chaos.verdict import Verdict, arrived, judge
from tests.chaos.world import World

# Between two looks at tables that are not right yet.
_POLL_SECONDS = 0.5
# Of a fault, until everything is processed; what has not come by then is counted as lost.
PATIENCE_SECONDS = 240.0
# Slices that a scene takes: a verdict reads every row of them.
_FAULTS_PER_SCENE = 12
# As many as pay for starting Dagster; each adds commits that every later run has to read.
_FAULTS_PER_DAEMON = 8
_SEEDS_PER_SCENE = 1_000


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one fault.

    Attributes:
        survived: it took place, everything that was sent is where it belongs, and the platform's own account agrees.
        skipped: why it was not tried.
        error: what went wrong in the fault itself.
    """

    fault: str
    platform: str
    survived: bool
    verdict: Verdict
    recovery_s: float | None = None
    failover_s: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    skipped: str = ""
    error: str = ""


def recover(platform: Platform, scene: Scene, *, patience: float = PATIENCE_SECONDS) -> tuple[Verdict, float]:
    """Let the platform work until the verdict is clean and nothing is in flight.

    Returns:
        The last verdict, and the moment of the first clean one.
    """
    deadline = time.monotonic() + patience
    clean_since: float | None = None
    while True:
        if clean_since is None:
            platform.advance()
        overdue, quiet = time.monotonic() > deadline, platform.idle()
        verdict = _judged(scene, anyhow=overdue)
        now = time.monotonic()
        clean_since = (clean_since or now) if verdict.clean else None
        if overdue or (verdict.clean and quiet):
            return verdict, clean_since or now
        time.sleep(_POLL_SECONDS)


def _judged(scene: Scene, *, anyhow: bool) -> Verdict:
    try:
        if anyhow or arrived(scene):
            return judge(scene)
    except (LakehouseError, KafkaException, OSError) as error:  # brokers may still be down
        return Verdict(problems=(f"no verdict: {error}",))
    return Verdict(problems=("not all has arrived",))


def accounted(scene: Scene) -> Verdict:
    """The platform's own account, which must agree."""
    try:
        found = account(
            scene.dataset,
            catalog=scene.catalog,
            storage=scene.storage,
            topic=lambda: Broker(scene.world.servers).topic(scene.topic),
            bootstrap_servers=scene.world.servers,
        )
    except LakehouseError as error:
        return Verdict(problems=(f"account: {error}",))
    if found.accounted and found.pending == 0 and found.gold_stale == 0:
        return Verdict()
    return Verdict(problems=(f"account: {found}",))


def attempt(
    fault: Fault,
    platform: Platform,
    scene: Scene,
    *,
    rng: Random,
    last: bool = True,
    patience: float = PATIENCE_SECONDS,
) -> Result:
    """Try one fault and judge.

    Args:
        last: of its scene, so that the platform's own account is asked for, which covers all that happened there.
    """
    began = time.monotonic()
    trial = Trial(scene=scene, platform=platform, rng=rng, moment=began)
    error = ""
    with trial.cleanup:
        try:
            fault.act(trial)
        except Exception as reason:  # noqa: BLE001 whatever it is, the verdict is still wanted, and the next fault too
            error = f"{type(reason).__name__}: {reason}"
            scene.plan.unlink(missing_ok=True)
        verdict, moment = recover(platform, scene, patience=patience)
        if verdict.clean and last:
            verdict += accounted(scene)
    if not verdict.clean and isinstance(platform, Processes) and platform.last_error:
        trial.notes.append(platform.last_error)
    return Result(
        fault=fault.name,
        platform=platform.name,
        survived=verdict.clean and not error,
        verdict=verdict,
        recovery_s=round(max(0.0, moment - trial.moment), 2),
        failover_s=trial.failover_s,
        seconds=round(time.monotonic() - began, 1),
        notes=tuple(trial.notes),
        error=error,
    )


@contextmanager
def platform_of(kind: Kind, scene: Scene) -> Generator[Platform]:
    if kind == "processes":
        yield Processes(scene)
    else:
        with daemon(scene) as found:
            yield found


def stage(faults: Sequence[Fault], world: World, *, kind: Kind, rng: Random) -> Iterator[Result]:
    """Try faults on one platform, in as many scenes as they need."""
    most = _FAULTS_PER_DAEMON if kind == "daemon" else _FAULTS_PER_SCENE
    with ExitStack() as stack:
        platform: Platform | None = None
        ground: Scene | None = None
        tried = 0
        sharing = [fault for fault in faults if not fault.alone and not fault.absent()]
        for fault in faults:
            if reason := fault.absent():
                yield Result(fault=fault.name, platform=kind, survived=False, verdict=Verdict(), skipped=reason)
                continue
            world.mend()
            if fault.alone:
                with ExitStack() as own:
                    its = scene(world, seed=_seed(rng), local=fault.local, partitions=fault.partitions)
                    yield attempt(fault, own.enter_context(platform_of(kind, its)), its, rng=rng)
                continue
            if ground is None or platform is None or tried >= most:
                stack.close()
                ground, tried = scene(world, seed=_seed(rng)), 0
                platform = stack.enter_context(platform_of(kind, ground))
            last = tried + 1 == most or fault is sharing[-1]
            result = attempt(fault, platform, ground, rng=rng, last=last)
            yield result
            tried += 1
            if not result.survived:  # damage would be blamed on the next fault
                ground = None


def _seed(rng: Random) -> int:
    return rng.randrange(1_000_000) * _SEEDS_PER_SCENE
