"""`python -m dagster_project.launcher.daemon`: Dagster's daemon, with the arguments that it has.

The process that runs are forked off starts beside the daemon, so that the first run finds it ready. After a crash that
run is the one that everybody waits for.

One daemon works on an instance. A second one gets ready and waits, so that a new release takes over within a second when the
old one is asked to end (SIGTERM), while the old one still waits for its runs.
"""

import sys
from pathlib import Path

from dagster_project.launcher import environment, forks
from dagster_project.services.lock import exclusive
from dagster_project.settings import Settings

# Dagster's own daemon looks every 5 s at which sensors are due, which Kafka to Gold waits for twice: once for the lag and once
# for the change of Bronze. A look at two sensors that find nothing is some 50 ms of CPU.
_LOOK_EVERY_S = 1
# A day: whoever starts a second daemon ends the first one when they see fit.
_PATIENCE_S = 86_400.0


def main() -> None:
    environment.enter()
    if sys.argv[1:2] == ["run"]:
        _run()
        return
    from dagster._daemon.cli import main as daemon  # noqa: PLC0415 takes seconds

    daemon()  # its other commands, such as that which tells whether one lives


def _run() -> None:
    forks.start()
    from dagster._daemon import sensor  # noqa: PLC0415 takes seconds, which the other one works in
    from dagster._daemon.cli import main as daemon  # noqa: PLC0415 as above

    from dagster_project.launcher import databases  # noqa: PLC0415 as above

    databases.open_cheaply()
    sensor.MIN_INTERVAL_LOOP_TIME = _LOOK_EVERY_S
    with exclusive(lock(Settings.from_environment()), patience=_PATIENCE_S):
        daemon()


def lock(settings: Settings) -> Path:
    """What the working daemon holds."""
    return settings.home / "services" / "dagster" / "daemon.lock"


# Each run imports this module under another name.
if __name__ == "__main__":
    main()
