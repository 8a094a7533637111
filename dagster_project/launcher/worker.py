"""The process of one run. It holds a lock for as long as it lives, so that anybody can tell whether it still does."""

from __future__ import annotations

from pathlib import Path

from dagster._cli.api import execute_run_command

from dagster_project.lake import meter
from dagster_project.launcher import databases
from dagster_project.services.lock import exclusive

# Whoever asks whether the lock is held takes it for a moment.
_PATIENCE_S = 5.0


def execute(arguments: str, mark: Path) -> None:
    """Execute a run as Dagster's own launchers do in containers.

    Args:
        arguments: `ExecuteRunArgs`, serialized.
        mark: the file to hold; it then contains the process id.

    Raises:
        ServiceError: another process works on the same run.
    """
    meter.own_process()
    databases.open_cheaply()
    with exclusive(mark, patience=_PATIENCE_S):
        execute_run_command.main([arguments], standalone_mode=False)
