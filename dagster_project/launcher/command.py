"""`python -m dagster_project.launcher.command`: Dagster's own command, on this installation's instance."""

from dagster_project.launcher import databases, environment


def main() -> None:
    environment.enter()
    from dagster._cli import main as dagster  # noqa: PLC0415 takes seconds, which an import of this module should not

    databases.open_cheaply()
    dagster()


if __name__ == "__main__":
    main()
