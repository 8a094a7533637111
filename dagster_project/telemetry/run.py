"""The run that the work belongs to: within it lines are written and spans have its id, and at its end all are sent."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from dagster_project.telemetry.spans import flush, span, trace_of


@dataclass(kw_only=True)
class Run:
    """A run at work.

    Attributes:
        id: Dagster's.
        logs: the folder that its lines go to.
        cpu_s: CPU seconds of the process that lines have told of so far.
    """

    id: str
    logs: Path
    cpu_s: float = field(default_factory=time.process_time)

    def spent(self) -> float:
        """CPU seconds of all threads of the process since this was asked last, or since the run began."""
        before, self.cpu_s = self.cpu_s, time.process_time()
        return self.cpu_s - before


_CURRENT: ContextVar[Run | None] = ContextVar("run", default=None)


def current() -> Run | None:
    """The run that this is part of; `None` in a person's command, which tells that person itself."""
    return _CURRENT.get()


@contextmanager
def run(run_id: str, *, asset: str, home: Path) -> Generator[None]:
    """Work within a run of Dagster, for one of its assets.

    Args:
        asset: such as `bronze/orders`.
        home: local state, `Settings.home`.
    """
    token = _CURRENT.set(Run(id=run_id, logs=home / "logs"))
    try:
        with trace_of(run_id), span("run", run_id=run_id, asset=asset):
            yield
    finally:
        _CURRENT.reset(token)
        flush()  # a run's process may end at once, and without saying so to anybody
