"""What each of Dagster's processes needs before Dagster is imported: the instance's configuration, and where it is."""

import os

from dagster_project.services import guard, orchestrator
from dagster_project.settings import Settings


def enter() -> None:
    """Write the instance's configuration as the profile wants it, and give this process the variables that lead there."""
    guard.end_with_supervisor()
    os.environ.update(orchestrator.prepare(Settings.from_environment()))
