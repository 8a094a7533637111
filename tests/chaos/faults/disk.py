"""A disk that is full: at once, or after Bronze; and files that may not grow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.chaos.fault import STRIKE_SECONDS, DidNotStrikeError, Fault, Trial
from tests.chaos.platform import PASS

_KIB = 1024
_BLOCK = 16 * _KIB
# Bytes that stay free: not enough for one data file; for Bronze, but not for all of Silver.
_NOTHING, _SOME = 4 * _KIB, 192 * _KIB


def faults() -> Iterator[Fault]:
    yield Fault(name="disk-full-at-once", act=_full(_NOTHING), local=True, absent=_no_mount)
    yield Fault(name="disk-full-on-the-way", act=_full(_SOME), local=True, absent=_no_mount)
    yield Fault(name="file-size-limited", act=_limited, local=True)


def _no_mount() -> str:
    return "" if os.geteuid() == 0 else "only root may mount a small disk"


def _full(free: int) -> Callable[[Trial], None]:
    def act(trial: Trial) -> None:
        lake = Path(trial.scene.storage.uri)
        lake.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(lake)], check=True)
        trial.cleanup.callback(subprocess.run, ["umount", "-l", str(lake)], check=True)
        trial.scene.produce()
        trial.platform.advance()
        trial.scene.produce()
        ballast = lake / "ballast"
        with ballast.open("wb") as file:
            while os.statvfs(lake).f_bavail * os.statvfs(lake).f_frsize > free + _BLOCK:
                file.write(bytes(_BLOCK))
                file.flush()
        _must_fail(trial, {})
        ballast.unlink()
        trial.mark()

    return act


def _limited(trial: Trial) -> None:
    """Each file that a run writes ends at a few KiB, as under a quota."""
    trial.scene.produce()
    _must_fail(trial, {"CHAOS_FILE_SIZE": str(_NOTHING)})
    trial.mark()


def _must_fail(trial: Trial, more: dict[str, str]) -> None:
    worker = trial.scene.start(*PASS, more=more)
    output, errors = worker.communicate(timeout=STRIKE_SECONDS)
    if worker.returncode == 0:
        raise DidNotStrikeError(f"the disk was not full: {output}")
    trial.notes.append(errors.strip().splitlines()[-1] if errors.strip() else "no word")
