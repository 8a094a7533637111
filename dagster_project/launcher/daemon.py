"""`python -m dagster_project.launcher.daemon`: Dagster's daemon, with the arguments that it has.

The process that runs are forked off starts beside it, so that the first run finds it ready. After a crash that run is the one
that everybody waits for.
"""

from dagster_project.launcher import forks


def main() -> None:
    forks.start()
    from dagster._daemon.cli import main as daemon  # noqa: PLC0415 takes seconds, which the other one works in

    daemon()


# Each run imports this module under another name.
if __name__ == "__main__":
    main()
