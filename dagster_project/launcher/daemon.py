"""`python -m dagster_project.launcher.daemon`: Dagster's daemon, with the arguments that it has.

The process that runs are forked off starts beside the daemon, so that the first run finds it ready. After a crash that
run is the one that everybody waits for.
"""

from dagster_project.launcher import forks

# Dagster's own daemon looks every 5 s at which sensors are due, which Kafka to Gold waits for twice: once for the lag and once
# for the change of Bronze. A look at two sensors that find nothing is some 50 ms of CPU.
_LOOK_EVERY_S = 1


def main() -> None:
    forks.start()
    from dagster._daemon import sensor  # noqa: PLC0415 takes seconds, which the other one works in
    from dagster._daemon.cli import main as daemon  # noqa: PLC0415 as above

    from dagster_project.launcher import databases  # noqa: PLC0415 as above

    databases.open_cheaply()
    sensor.MIN_INTERVAL_LOOP_TIME = _LOOK_EVERY_S
    daemon()


# Each run imports this module under another name.
if __name__ == "__main__":
    main()
