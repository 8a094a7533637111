"""kill -9 of a run: at each point between reading and having committed, and at any moment at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.chaos.fault import Fault, Kind, Trial

LAYERS = ("bronze", "quarantine", "silver", "gold")
MOMENTS = ("before_files", "before_commit", "after_commit")
BETWEEN = ("ingest.fetched", "silver.merged", "gold.computing", "gold.computed")
# A run of a worker takes about this long; of Dagster, twice as long.
_MOST_SECONDS = 3.0


def faults() -> Iterator[Fault]:
    for layer in LAYERS:
        for moment in MOMENTS:
            # Under Dagster where the commit is at stake; where nothing was written yet, it adds nothing but time.
            kind: Kind = "processes" if moment == "before_files" or layer == "quarantine" else "daemon"
            yield Fault(name=f"kill-{layer}-{moment.replace('_', '-')}", act=at(f"{layer}.{moment}"), platform=kind)
    for point in BETWEEN:
        yield Fault(name=f"kill-{point.replace('.', '-')}", act=at(point))
    yield Fault(name="kill-at-random", act=_at_random)
    yield Fault(name="kill-thrice-at-random", act=_thrice)
    yield Fault(name="kill-run-at-random", act=_at_random, platform="daemon")


def at(point: str) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        trial.arm(point)
        trial.scene.produce()
        trial.until(trial.struck)

    return act


def _at_random(trial: Trial) -> None:
    # The clock starts at the first message that is asked for: a process that only starts has nothing to lose.
    trial.arm("ingest.fetching", "kill_later", seconds=trial.rng.uniform(0, _MOST_SECONDS))
    trial.scene.produce()
    trial.until(trial.struck)


def _thrice(trial: Trial) -> None:
    for _ in range(3):
        _at_random(trial)
